"""Tokens of outputs that the server did not count: exact where it said `length`, estimated by our tokenizer, or unknown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of
from tests.support.runs.synthetic_deployment import OUTPUT_TOKENS
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.stage.token_counting import InputDifference, TokenCounting, input_difference, with_counts
from trtbench.analysis.summary import Summary, summarise
from trtbench.report.sections.core import core_table
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import spread

LLMAPI = {"family": "llmapi", "token_counts": None, "input_counts": "tokenizer", "forces_length": False}
STAGES = ("c1", "c4")  # where every request completed


def test_prompts_that_the_server_counts_otherwise_are_counted() -> None:
    counted = [request_of(0, [5], input_tokens=tokens, planned_input_tokens=planned) for tokens, planned in ((12, 10), (9, 10), (10, None))]
    assert input_difference(columns(counted)) == InputDifference(count=2, requests=3, least=-1, most=2)
    assert input_difference(columns(counted[2:])) is None


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_a_spread_loses_no_token_and_is_even(tokens: int, responses: int) -> None:
    counts = spread(tokens, responses)
    assert (sum(counts), len(counts)) == (tokens, responses)
    assert max(counts) - min(counts) <= 1


def _silent(**more: Any) -> Any:
    return request_of(0, [10, 20, 30, 40], token_counts=[0] * 4, **more)


def test_what_each_request_is_known_by() -> None:
    requests = [
        request_of(0, [10, 20]),  # counted by the server: as it was
        _silent(finish_reason="length", text_tokens=3),  # told 4, the tokenizer says 3
        _silent(finish_reason="length", asked_output_tokens=10),  # fewer responses than tokens, nothing to compare
        _silent(finish_reason="stop", text_tokens=3),
        _silent(finish_reason="stop", text_tokens=99),  # no model makes more than was asked
        _silent(finish_reason="length", outcome=Outcome.TIMEOUT, text_tokens=2),  # not ended: its word is not the last
        _silent(),
        request_of(0, [], outcome=Outcome.UNAVAILABLE, asked_output_tokens=4),  # no output, nothing to count
    ]
    counted, counting = with_counts(columns(requests))
    assert [r.token_counts for r in counted.records()] == [[1, 1], [1] * 4, [2, 3, 2, 3], [0, 1, 1, 1], [1] * 4, [0, 1, 0, 1], [0] * 4, []]
    assert counting == TokenCounting(by_length=2, estimated=3, unknown=1, compared=1, error_ratio=0.25, uncertain_ratio=(9 * 0.25 + 3) / 25)
    assert not counting.is_sure
    assert requests[1].token_counts == [0] * 4, "the records stay as they were written"


def test_a_few_short_estimates_among_many_counted_outputs_do_not_matter() -> None:
    told = [_silent(finish_reason="length", text_tokens=4) for _ in range(40)]
    assert with_counts(columns([*told, _silent(finish_reason="stop", text_tokens=2)]))[1].is_sure, "one end token of 162 tokens"
    assert not with_counts(columns([*told[:9], _silent(finish_reason="stop", text_tokens=2)]))[1].is_sure, (
        "too few to hold the tokenizer against"
    )
    off = [_silent(finish_reason="length", text_tokens=3) for _ in range(40)]
    assert not with_counts(columns([*off, *[_silent(finish_reason="stop", text_tokens=2)] * 20]))[1].is_sure


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., tuple[Summary, Summary]]:
    """The synthetic run as it is, and had its first server counted no tokens and said this of each request in their place."""

    def plant(finish_reason: str, text_tokens: Callable[[int], int | None]) -> tuple[Summary, Summary]:
        path = Path(write_synthetic_run(tmp_path / "run").run.path)
        plain = summarise(RunDirectory.open(path))
        directory = path / plain.deployments[0].name
        facts = directory / "deployment.json"
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"tokens": LLMAPI}))
        rows = pq.read_table(directory / "requests.parquet")
        texts = [text_tokens(sum(counts)) if counts else None for counts in rows["token_counts"].to_pylist()]
        columns = {
            "token_counts": [[0] * len(counts) for counts in rows["token_counts"].to_pylist()],
            "finish_reason": [finish_reason] * len(rows),
            "text_tokens": texts,
        }
        for name, values in columns.items():
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
        pq.write_table(rows, directory / "requests.parquet")
        return plain, summarise(RunDirectory.open(path))

    return plant


def _codes(summary: Summary) -> dict[str, Any]:
    return {reason.code: reason for reason in summary.verdict.reasons}


@pytest.mark.whole_run
def test_outputs_that_ended_by_their_length_give_the_figures_of_counted_ones(planted: Any) -> None:
    plain, silent = planted("length", lambda tokens: tokens - 4)
    for name in STAGES:
        before, after = (summary.deployments[0].stage(name) for summary in (plain, silent))
        assert after.throughput.output_tokens == before.throughput.output_tokens
        assert (after.output_tokens, after.throughput.tokens_estimated) == (before.output_tokens, False)
        assert (after.latency.tpot_ns, after.latency.itl_per_token_ns) == (before.latency.tpot_ns, before.latency.itl_per_token_ns)
    found = _codes(silent)
    assert "tokens_unknown" not in found
    assert found["tokens_by_length"].grade == "note"
    assert found["tokens_by_length"].figures["error_ratio"] == pytest.approx(4 / OUTPUT_TOKENS)


@pytest.mark.whole_run
def test_outputs_known_by_the_tokenizer_alone_are_an_estimate_and_say_so(planted: Any) -> None:
    plain, silent = planted("stop", lambda tokens: tokens // 2)
    (before, after) = (summary.deployments[0].stage("c4") for summary in (plain, silent))
    assert after.throughput.output_tokens == before.throughput.output_tokens // 2
    assert after.throughput.tokens_estimated and after.wrong_length == 0 and after.estimated_off == after.conservation.completed
    assert after.throughput.request_throughput == before.throughput.request_throughput
    assert after.latency.ttft_ns == before.latency.ttft_ns and after.latency.itl_ns == before.latency.itl_ns
    found = _codes(silent)
    assert found["tokens_estimated"].grade == "suspect" and silent.verdict.status == "SUSPECT"
    assert (found["tokens_estimated"].figures["compared"], found["tokens_estimated"].figures["error_ratio"]) == (0, "-")
    assert "tokens_unknown" not in found and "tokens_by_length" not in found
    header, rows = core_table(silent, "en")
    tokens = header.index("Tokens/s")
    marked = [row[tokens].startswith("≈ ") for row in rows]
    assert any(marked) and not all(marked), "only the deployment whose tokens are estimated"


@pytest.mark.whole_run
def test_without_a_tokenizer_nothing_is_estimated(planted: Any) -> None:
    _, silent = planted("stop", lambda tokens: None)
    assert _codes(silent)["tokens_unknown"].grade == "invalid"
    assert silent.deployments[0].stage("c4").throughput.output_token_throughput is None
