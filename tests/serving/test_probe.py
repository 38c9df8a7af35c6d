"""Models that misbehave, on the real Triton: each answer has its class, and what came is held against what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.support.asking import with_client
from tests.support.triton.numpy1 import UNPACKED
from tests.support.triton.probe import serve_probes
from trtbench.analysis.summary import Summary, summarise
from trtbench.cli.main import main
from trtbench.client.answer_bounds import most_ids
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer
from trtbench.system.clock import now_ns

pytestmark = [
    pytest.mark.triton,
    pytest.mark.usefixtures("sketched_figures"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(not UNPACKED.is_dir(), reason="no NumPy 1.26 for Triton's stub: scripts/setup.sh fetches it, up to Python 3.12"),
]
ASKED, FIRST_NS, BIG = 6, 20_000_000, 3_000_000
OTHER_TYPES = ("INT16", "INT64", "UINT64")
MODELS: dict[str, dict[str, str]] = {
    **{how: {"how": how} for how in ("zero", "zero_some", "long", "empty_ids", "padded", "many")},
    **{how: {"how": how} for how in ("error_mid", "error_after_last", "no_final")},
    **{name: {"how": "tokens", "ids": name} for name in OTHER_TYPES},
    "big": {"how": "big", "per": str(BIG)},
    "first_empty": {"how": "pieces", "pieces_hex": "- - 2077 2078 -"},
    "white_space": {"how": "pieces", "pieces_hex": "0a 2077"},
    "cut_character": {"how": "pieces", "pieces_hex": "20 c3 a9 ff"},
    "no_text": {"how": "pieces", "pieces_hex": "- -"},
}


@pytest.fixture(scope="module")
def server(installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serve_probes(installation, MODELS, tmp_path_factory.mktemp("probes")) as server:
        yield server


def asked_of(server: TritonServer, model: str, patience_s: float = 20) -> RequestRecord:
    prompt = PlannedPrompt(np.arange(3, dtype=np.int32), ASKED, 0, text="a b c")
    record = RequestRecord(0, "c1", False, 0, 3, ASKED, now_ns())

    async def body(client: Any) -> None:
        await client.send_request(record, client.encode_request(prompt), Limits(now_ns() + round(patience_s * 1e9)))

    with_client(inspect_target(server.endpoints.grpc, model), True, body)
    return record


def benched(server: TritonServer, model: str, runs: Path, *flags: str) -> tuple[int, Summary]:
    where = ["--url", server.endpoints.grpc, "--model", model, "--artifact-dir", str(runs)]
    load = ["--isl", "4", "--osl", str(ASKED), "--concurrency", "2", "--request-count", "40", "--goodput", "ttft:1000"]
    done = CliRunner().invoke(main, ["bench", *where, *load, *flags])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    (run,) = map(RunDirectory.open, runs.iterdir())
    return done.exit_code, summarise(run)


@pytest.mark.parametrize(("model", "empty"), [("zero", 40), ("zero_some", 20)])
def test_answers_without_output_fail_keep_no_limit_and_are_in_the_verdict(
    server: TritonServer, model: str, empty: int, tmp_path: Path
) -> None:
    exit_code, summary = benched(server, model, tmp_path, "--eos-id", "2")
    (stage,) = summary.deployments[0].stages
    equation, found = stage.conservation, {reason.code: reason for reason in summary.verdict.reasons}
    assert (equation.completed, equation.failed_by_class, equation.holds) == (40 - empty, {"empty": empty}, True)
    assert stage.throughput.goodput_ratio == (40 - empty) / 40
    assert found["output_empty"].figures["share_ratio"] == empty / 40
    assert summary.verdict.status == ("INVALID" if empty == 40 else "SUSPECT") and (exit_code == 0) == (empty < 40)
    assert "errors_empty" in {finding.code for finding in summary.findings}


def test_with_an_end_id_too_what_came_is_held_against_what_was_asked(server: TritonServer, tmp_path: Path) -> None:
    _, summary = benched(server, "long", tmp_path, "--eos-id", "2")
    lengths = [reason for reason in summary.verdict.reasons if reason.code.startswith("output_")]
    assert [(reason.code, reason.figures["count"]) for reason in lengths] == [("output_beyond", 40)]


@pytest.mark.parametrize(
    ("model", "outcome", "ids"),
    [
        ("zero", Outcome.EMPTY, []),
        ("empty_ids", Outcome.COMPLETED, list(range(100, 106))),
        ("padded", Outcome.COMPLETED, list(range(100, 106))),
        ("many", Outcome.COMPLETED, list(range(100, 106))),
        ("error_mid", Outcome.OTHER, [100, 101, 102]),
        ("error_after_last", Outcome.OTHER, list(range(100, 106))),
        *((name, Outcome.COMPLETED, list(range(100, 106))) for name in OTHER_TYPES),
    ],
)
def test_tokens_are_those_that_came(server: TritonServer, model: str, outcome: Outcome, ids: list[int]) -> None:
    record = asked_of(server, model)
    assert (record.outcome, record.output_ids) == (outcome, ids) and record.output_tokens == len(ids)
    if ids and record.sent_ns and model in ("empty_ids", *OTHER_TYPES):
        assert record.token_ns[0] - record.sent_ns >= FIRST_NS


@pytest.mark.parametrize(
    ("model", "text", "responses"), [("first_empty", " w x", 2), ("white_space", "\n w", 2), ("cut_character", " é\ufffd", 4)]
)
def test_the_first_token_is_the_first_text(server: TritonServer, model: str, text: str, responses: int) -> None:
    record = asked_of(server, model)
    assert (record.outcome, record.output_text) == (Outcome.COMPLETED, text)
    assert len(record.token_ns) == responses + (model == "first_empty")  # the empty piece after the first text
    assert record.sent_ns and record.token_ns[0] - record.sent_ns >= (2 * FIRST_NS if model == "first_empty" else 0)
    assert asked_of(server, "no_text").outcome is Outcome.EMPTY


def test_a_message_of_twelve_megabytes_is_read(server: TritonServer) -> None:
    record = asked_of(server, "big")
    assert (record.outcome, record.output_tokens, len(record.output_ids)) == (Outcome.COMPLETED, BIG, most_ids(ASKED))


def test_an_answer_that_never_ends_is_a_timeout_with_its_tokens(server: TritonServer) -> None:
    record = asked_of(server, "no_final", patience_s=1)
    assert (record.outcome, record.output_tokens) == (Outcome.TIMEOUT, ASKED)
