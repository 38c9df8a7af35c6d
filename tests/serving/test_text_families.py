"""Every family of TensorRT-LLM's models on the real Triton, our CPU engine behind them: the client's counts and instants are the server's.

The models around the engine are ours, with NVIDIA's tensors (tests/fixtures/text_models); their stub has NumPy 1.26 (numpy1.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from tests.conftest import SMALL
from tests.support.asking import LATER_NS, with_client
from tests.support.command import ran
from tests.support.records import columns
from tests.support.triton.kserve import page
from tests.support.triton.numpy1 import UNPACKED
from tests.support.triton.text_family import serve_families
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.token_counting import TokenCounting, with_counts
from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import Limits
from trtbench.engine.spec import Engine
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import EngineCounts, Outcome, RequestRecord
from trtbench.scenario.parts.choices import Dtype
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer
from trtbench.system.clock import now_ns

pytestmark = [
    pytest.mark.triton,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not UNPACKED.is_dir(), reason="no NumPy 1.26 for Triton's stub: scripts/setup.sh fetches it, up to Python 3.12"),
]
MODELS = ("tensorrt_llm", "ensemble", "tensorrt_llm_bls", "llmapi")
REQUESTS, OUTPUT_TOKENS = 6, 8
Benched = tuple[DeploymentResult, list[RequestRecord], dict[int, list[int]]]
"""Of one model: the result, the records, and the planned prompts' token ids."""


@pytest.fixture(scope="module")
def server(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    with serve_families(installation, engines["int8"], SMALL, tmp_path_factory.mktemp("families")) as server:
        yield server


@pytest.fixture(scope="module")
def tokenizer(engines: dict[Dtype, Engine]) -> Tokenizer:
    return Tokenizer.from_file(str(engines["int8"].path / "tokenizer.json"))


@pytest.fixture(scope="module")
def benched(server: TritonServer, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Benched]:
    """The same plan put to each model, by the command that a user gives."""
    return {model: _bench(server, engines["int8"].path, model, tmp_path_factory.mktemp("runs")) for model in MODELS}


def _bench(server: TritonServer, engine: Path, model: str, runs: Path) -> Benched:
    where = ["--url", server.endpoints.grpc, "--metrics-url", f"http://{server.endpoints.metrics}/metrics", "--tokenizer", str(engine)]
    asked = ["--isl", "12", "--osl", str(OUTPUT_TOKENS), "--max-concurrency", "1", "--num-prompts", str(REQUESTS)]
    with patch("trtbench.report.figures.plots.draw", return_value={}):
        done = CliRunner().invoke(main, ["bench", *where, "--model", model, *asked, "--artifact-dir", str(runs)])
    assert ran(done.exit_code, runs), done.output
    (run,) = map(RunDirectory.open, runs.iterdir())
    (deployment,) = run.deployments()
    (result,) = summarise(run).deployments
    prompts = {row["prompt"]: row["input_ids"] for row in read_lines(deployment.plan_jsonl) if "input_ids" in row}
    return result, deployment.requests(), prompts


@pytest.mark.parametrize("model", MODELS)
def test_every_family_counts_the_tokens_that_were_made(benched: Any, model: str) -> None:
    result, records, _ = benched[model]
    requests, counting = with_counts(columns(records))
    counted = requests.records()
    assert [(r.outcome, r.token_counts, r.echoed_tokens) for r in counted] == [(Outcome.COMPLETED, [1] * OUTPUT_TOKENS, 0)] * REQUESTS
    assert result.stages[0].throughput.output_tokens == REQUESTS * OUTPUT_TOKENS and not result.stages[0].throughput.tokens_estimated
    if model == "llmapi":  # by the server's own word for how each ended; what our tokenizer would have said is held against it
        assert (counting.by_length, counting.compared, counting.unknown) == (REQUESTS, REQUESTS, 0)
    else:
        assert counting == TokenCounting()
        assert result.tokens_beyond_ours == 0, "the engine's own counter saw as many"


@pytest.mark.parametrize("model", MODELS)
def test_the_clients_instants_embrace_the_servers(benched: Any, model: str) -> None:
    """One clock on one machine: no answer arrives before the engine made it, and what lies between is the models around it."""
    result, records, _ = benched[model]
    for record in records:
        assert record.server and record.sent_ns and record.done_ns
        server = record.server
        order = [record.due_ns, record.sent_ns, server.arrival_ns, server.first_scheduled_ns, server.first_token_ns, record.token_ns[0]]
        assert order == sorted(order)
        assert server.last_token_ns <= record.token_ns[-1] <= record.done_ns
    times = result.stages[0].latency
    split = [times.server_queue_ns, times.server_prefill_ns, times.server_decode_ns]
    assert [part.count for part in split] == [REQUESTS] * 3


@pytest.mark.parametrize("model", MODELS)
def test_engine_counts_are_read_only_where_a_family_reports_them(benched: Any, model: str) -> None:
    """All have the outputs and are asked for them; our engine counts nothing, and only the `llmapi` stand-in says so much."""
    result, records, _ = benched[model]
    told = EngineCounts(0, 1, 1, 1, 0, 0) if model == "llmapi" else None  # prompts of one block
    assert [record.engine for record in records] == [told] * REQUESTS
    (stage,) = result.stages
    assert stage.drafts is None and (stage.reuse.hit_ratio if stage.reuse else None) == (0 if model == "llmapi" else None)


@pytest.mark.parametrize("model", ["ensemble", "tensorrt_llm_bls"])
def test_the_engines_metrics_are_those_of_the_model_inside(benched: Any, model: str) -> None:
    result, *_ = benched[model]
    (stage,) = result.stages
    assert result.missing_metrics == () and result.kv_used_blocks
    assert stage.inflight and stage.triton_batching and stage.triton_batching.inferences == REQUESTS


def test_the_text_is_that_of_the_same_tokens(benched: Any, tokenizer: Tokenizer) -> None:
    """A prompt that comes out of text as it went in is answered alike."""
    ids, texts = ({record.prompt: record for record in benched[model][1]} for model in ("tensorrt_llm", "llmapi"))
    asked, spelled = (benched[model][2] for model in ("tensorrt_llm", "llmapi"))
    alike = [number for number in ids if asked[number] == spelled[number]]
    assert alike, "every prompt changed on its way through text"
    assert [tokenizer.decode(ids[n].output_ids) for n in alike] == [texts[n].output_text for n in alike]


@pytest.mark.parametrize("model", MODELS)
def test_a_prompt_that_never_fits_has_one_class(server: TritonServer, tokenizer: Tokenizer, model: str) -> None:
    text = "the " * 1000
    prompt = PlannedPrompt(np.array(tokenizer.encode(text).ids, np.int32), 4, 0, text=text)
    assert _ask(server, model, prompt).outcome is Outcome.TOO_LONG


@pytest.mark.parametrize(("model", "made"), [("tensorrt_llm", 0), ("ensemble", 40)])
def test_a_cancellation_does_not_reach_the_engine_of_an_ensemble(server: TritonServer, tokenizer: Tokenizer, model: str, made: int) -> None:
    """Triton cancels steps of an ensemble that have not begun; the engine's has, and makes all the tokens that were asked."""
    before = _tokens_made(server)
    text = "Once upon a time"
    prompt, longer = (PlannedPrompt(np.array(tokenizer.encode(text).ids, np.int32), tokens, 0, text=text) for tokens in (40, 50))
    record = _ask(server, model, prompt, cancel_after_tokens=2)
    assert (record.outcome, record.output_tokens) == (Outcome.CANCELLED, 2)
    assert _ask(server, "tensorrt_llm", longer).output_tokens == 50  # by then the other one has ended too, if it goes on
    deadline_ns = now_ns() + LATER_NS
    while _tokens_made(server) - before < 50 + made and now_ns() < deadline_ns:
        time.sleep(0.1)
    assert _tokens_made(server) - before == 50 + made


def _ask(server: TritonServer, model: str, prompt: PlannedPrompt, cancel_after_tokens: int | None = None) -> RequestRecord:
    record = RequestRecord(0, "c1", False, 0, len(prompt.input_ids), prompt.output_tokens, now_ns())

    async def body(client: Any) -> None:
        await client.send_request(record, client.encode_request(prompt), Limits(now_ns() + LATER_NS, cancel_after_tokens))

    with_client(inspect_target(server.endpoints.grpc, model), False, body)
    return record


def _tokens_made(server: TritonServer) -> float:
    """Of requests that ran to their end in the engine."""
    samples = page(f"http://{server.endpoints.metrics}/metrics").get("nv_llm_output_token_len", [])
    return sum(sample.value for sample in samples if sample.name.endswith("_sum"))
