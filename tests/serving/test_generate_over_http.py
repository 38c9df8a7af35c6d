"""Triton's generate_stream on the real server, our CPU engine behind it: one plan gives the same records by gRPC and by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import SMALL
from tests.support.command import ran
from tests.support.triton.numpy1 import UNPACKED
from tests.support.triton.text_family import serve_families
from trtbench.cli.main import main
from trtbench.engine.spec import Engine
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.parts.choices import Dtype
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

pytestmark = [
    pytest.mark.triton,
    pytest.mark.usefixtures("sketched_figures"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(not UNPACKED.is_dir(), reason="no NumPy 1.26 for Triton's stub: scripts/setup.sh fetches it, up to Python 3.12"),
]
REQUESTS, OUTPUT_TOKENS = 6, 8
SAME = ("index", "prompt", "outcome", "error", "input_tokens", "asked_output_tokens", "finish_reason", "output_text", "text_tokens")


@pytest.fixture(scope="module")
def server(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    with serve_families(installation, engines["int8"], SMALL, tmp_path_factory.mktemp("families")) as server:
        yield server


def invoke(url: str, engine: Path, model: str, runs: Path, *flags: str) -> Result:
    asked = ["--isl", "12", "--osl", str(OUTPUT_TOKENS), "--concurrency", "2", "--request-count", str(REQUESTS), "--random-seed", "3"]
    where = ["--url", url, "--model", model, "--tokenizer", str(engine), "--artifact-dir", str(runs)]
    return CliRunner().invoke(main, ["bench", *where, *asked, *flags])


def benched(url: str, engine: Path, model: str, runs: Path, *flags: str) -> tuple[list[RequestRecord], list[bytes]]:
    """The records in the order of the plan, and the plan's lines."""
    done = invoke(url, engine, model, runs, *flags)
    assert ran(done.exit_code, runs), done.output
    (run,) = map(RunDirectory.open, runs.iterdir())
    (deployment,) = run.deployments()
    return sorted(deployment.requests(), key=lambda record: record.index), deployment.plan_jsonl.read_bytes().splitlines()


@pytest.mark.parametrize("model", ["ensemble", "tensorrt_llm_bls", "llmapi", "fake_vllm_backend"])
def test_one_plan_by_grpc_and_by_http_gives_the_same_records(
    server: TritonServer, engines: dict[Dtype, Engine], tmp_path: Path, model: str
) -> None:
    engine = engines["int8"].path
    by_grpc, plan = benched(server.endpoints.grpc, engine, model, tmp_path / "grpc")
    by_http, same = benched(f"http://{server.endpoints.http}", engine, model, tmp_path / "http", "--endpoint-type", "generate")
    assert plan == same
    for one, other in zip(by_grpc, by_http, strict=True):
        for name in SAME:
            assert getattr(one, name) == getattr(other, name), name
        assert (one.token_counts, len(one.token_ns)) == (other.token_counts, len(other.token_ns)), (one, other)
        assert other.outcome is Outcome.COMPLETED
        assert not (other.read_with_end and len(other.token_ns) - 1 in other.coalesced)
        assert other.sent_ns and other.done_ns and other.sent_ns < other.token_ns[0] <= other.token_ns[-1] <= other.done_ns


def test_an_answer_in_one_piece(server: TritonServer, engines: dict[Dtype, Engine], tmp_path: Path) -> None:
    flags = ("--endpoint-type", "generate", "--no-streaming")
    records, _ = benched(f"http://{server.endpoints.http}", engines["int8"].path, "ensemble", tmp_path / "runs", *flags)
    assert [(record.outcome, record.token_counts) for record in records] == [(Outcome.COMPLETED, [OUTPUT_TOKENS])] * REQUESTS


def test_what_cannot_be_measured_ends_in_one_sentence(server: TritonServer, engines: dict[Dtype, Engine], tmp_path: Path) -> None:
    engine, http, flags = engines["int8"].path, f"http://{server.endpoints.http}", ("--endpoint-type", "generate")
    for url, model, part in (
        (http, "llama", "the server has ensemble, fake_vllm_backend, llmapi"),
        (http, "tensorrt_llm", "takes no text_input"),
        (f"http://{server.endpoints.grpc}", "ensemble", "speaks only HTTP/2"),
    ):
        done = invoke(url, engine, model, tmp_path, *flags)
        assert done.exit_code == 2 and part in done.output and len(done.output.strip().splitlines()) == 1, done.output
    done = invoke(http, engine, "ensemble", tmp_path, "--endpoint-type", "chat")
    assert done.exit_code == 2 and "correct --endpoint-type" in done.output


def test_a_prompt_that_never_fits_is_a_class_of_its_own(server: TritonServer, engines: dict[Dtype, Engine], tmp_path: Path) -> None:
    flags = ("--endpoint-type", "generate", "--isl", "1000", "--request-count", "2")
    done = invoke(f"http://{server.endpoints.http}", engines["int8"].path, "ensemble", tmp_path / "runs", *flags)
    assert done.exit_code == 1 and "2 of 2 requests (100%) ended as too_long" in done.output, done.output
