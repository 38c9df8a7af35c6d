"""Exports against files that the other tools wrote: a run with the requests that a tool recorded is exported to that tool's figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import S
from tests.support.runs.written_run import Served, window, write_run
from trtbench.export.writers import WRITERS, export_run
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario

FOREIGN = Path(__file__).parents[1] / "fixtures" / "foreign_results"
pytestmark = pytest.mark.whole_run
AIPERF, VLLM = FOREIGN / "aiperf-0.13.0", FOREIGN / "vllm-0.32.0"


def request(
    index: int, due_ns: int, sent_ns: int, done_ns: int, ttft_ms: float, gaps_ms: Sequence[float], input_tokens: int
) -> RequestRecord:
    token_ns = [sent_ns + round(1e6 * at) for at in accumulate(gaps_ms, initial=ttft_ms)]
    return RequestRecord(
        index=index,
        stage="c2",
        warmup=False,
        prompt=index,
        input_tokens=input_tokens,
        asked_output_tokens=len(token_ns),
        due_ns=due_ns,
        sent_ns=sent_ns,
        done_ns=done_ns,
        token_ns=token_ns,
        token_counts=[1] * len(token_ns),
        outcome=Outcome.COMPLETED,
    )


def exported(tmp_path: Path, name: str, requests: Sequence[RequestRecord], **scenario: Any) -> Path:
    """The folder of the only stage."""
    tree = {"name": "x", "engines": ["int8"], "load": [{"concurrency": 2, "requests": 3}]} | scenario
    spans = window("c2", 0, max(one.done_ns or 0 for one in requests), len(requests), 2)
    write_run(tmp_path / "run", parse_scenario(tree, "x"), Served(requests, [spans], span_ns=(0, 10**14)))
    (folder,) = {path.parent for path in export_run(tmp_path / "run", WRITERS[name], tmp_path / "out")}
    return folder


def aiperf_requests() -> list[RequestRecord]:
    """The records of aiperf's own profile_export.jsonl."""
    rows = [json.loads(line) for line in (AIPERF / "profile_export.jsonl").read_text().splitlines()]
    start_ns = min(row["metadata"]["credit_issued_ns"] for row in rows) - S
    found = []
    for index, row in enumerate(rows):
        due_ns, sent_ns = (row["metadata"][name] - start_ns for name in ("credit_issued_ns", "request_start_ns"))
        values = {name: metric["value"] for name, metric in row["metrics"].items()}
        done_ns = sent_ns + round(1e6 * values["request_latency"])
        gaps = values["inter_chunk_latency"]
        found.append(request(index, due_ns, sent_ns, done_ns, values["time_to_first_token"], gaps, values["input_sequence_length"]))
    return found


def test_aiperfs_own_requests_give_aiperfs_own_figures(tmp_path: Path) -> None:
    """aiperf divides rates by its whole phase, of which a run directory has only the time from the first send to the last answer."""
    folder = exported(tmp_path, "aiperf", aiperf_requests())
    ours, theirs = (json.loads((path / "profile_export_aiperf.json").read_text()) for path in (folder, AIPERF))
    metrics = {key: value for key, value in ours.items() if isinstance(value, dict) and "unit" in value}
    window_s = (datetime.fromisoformat(theirs["end_time"]) - datetime.fromisoformat(theirs["start_time"])).total_seconds()
    assert len(metrics) > 20 and set(metrics) - set(theirs) == set()
    for key, value in metrics.items():
        assert value["unit"] == theirs[key]["unit"] and set(value) == set(theirs[key]), key
        scale = window_s / ours["benchmark_duration"]["avg"] if value["unit"] in ("requests/sec", "tokens/sec") else 1.0
        for name, figure in value.items():
            assert name == "unit" or figure == pytest.approx(scale * theirs[key][name], rel=1e-5, abs=1e-3), (key, name)
    assert set(ours) - set(theirs) == {"exported_by"}  # that trtbench wrote it
    assert ours["error_summary"] == [] and ours["is_complete"] and ours["schema_version"] == theirs["schema_version"]


def test_aiperfs_table_has_its_columns_and_names(tmp_path: Path) -> None:
    folder = exported(tmp_path, "aiperf", aiperf_requests())
    ours, theirs = (list(csv.reader(io.StringIO((path / "profile_export_aiperf.csv").read_text()))) for path in (folder, AIPERF))
    assert ours[0] == theirs[0]
    known = {row[0]: row for row in theirs if row and row[0] != "Metric"}
    for row in (row for row in ours if row and row[0] != "Metric"):
        assert len(row) == len(known[row[0]])
    two_decimals = {row[0]: row[1] for row in ours if row and row[0] != "Metric"}
    assert two_decimals["Request Latency (ms)"] == known["Request Latency (ms)"][1]


def test_aiperfs_records_have_its_keys(tmp_path: Path) -> None:
    folder = exported(tmp_path, "aiperf", aiperf_requests())
    ours, theirs = ([json.loads(line) for line in (path / "profile_export.jsonl").read_text().splitlines()] for path in (folder, AIPERF))
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        assert set(one) == set(other)
        assert set(one["metadata"]) <= set(other["metadata"])
        of_records = set(one["metrics"]) - {"credit_to_start_latency", "effective_latency"}  # aiperf computes these two for the run only
        assert of_records <= set(other["metrics"])
        for key in of_records:
            assert one["metrics"][key]["unit"] == other["metrics"][key]["unit"]
            assert one["metrics"][key]["value"] == pytest.approx(other["metrics"][key]["value"], rel=1e-4)


NOT_EXPORTED = {"generated_texts", "max_output_tokens_per_s", "max_concurrent_requests", "rtfx"}


def test_vllms_own_requests_give_vllms_own_figures(tmp_path: Path) -> None:
    theirs = json.loads((VLLM / "result.json").read_text())
    start_s = min(theirs["start_times"]) - 2
    found = []
    for index in range(theirs["num_prompts"]):
        sent_ns = round(1e9 * (theirs["start_times"][index] - start_s))
        gaps_ms = [1000 * gap for gap in theirs["itls"][index]]
        due_ns = sent_ns - round(1e9 * theirs["queue_times"][index])
        done_ns = sent_ns + round(1e9 * theirs["latencies"][index])
        found.append(request(index, due_ns, sent_ns, done_ns, 1000 * theirs["ttfts"][index], gaps_ms, theirs["input_lens"][index]))
    folder = exported(tmp_path, "vllm", found, slo={"ttft_ms": 500})
    ours = json.loads((folder / "result.json").read_text())
    assert set(theirs) - set(ours) == NOT_EXPORTED and set(ours) - set(theirs) == set()
    named = {"date", "endpoint_type", "backend", "model_id", "tokenizer_id"}
    of_the_whole_run = {"duration", "request_throughput", "request_goodput", "output_throughput", "total_token_throughput"}
    for key in set(ours) - named - of_the_whole_run - {"start_times", "itls", "request_rate", "label", "errors"}:
        assert ours[key] == pytest.approx(theirs[key], rel=1e-5), key
    for key in ("request_rate", "label", "errors"):
        assert ours[key] == theirs[key]
    for mine, other in zip(ours["itls"], theirs["itls"], strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    for key in of_the_whole_run - {"duration"}:  # vLLM's duration includes the time before the first and after the last request
        assert ours[key] == pytest.approx(theirs[key] * theirs["duration"] / ours["duration"], rel=1e-5)
        assert theirs["duration"] == pytest.approx(ours["duration"], rel=0.05)
