"""Writes a run with a response cache off and on, of planted truth: every second request repeats the one before it.

A computed request takes COMPUTED_MS, a cached one HIT_MS. The last request is sent with the one it repeats, so no cache can answer it, and
Triton counts it as neither hit nor miss.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.records import MS, S
from tests.support.runs.facts import encoder_engine
from tests.support.runs.written_run import Series, Served, window, write_run
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

REQUESTS = 100
COMPUTED_MS = {1: 10, 2: 12}
"""By round."""
HIT_MS = 1
LOOKUP_NS, MISS_NS, QUEUE_NS = 7_000, 20_000, 500_000
HITS, MISSES = REQUESTS // 2 - 1, REQUESTS // 2
STAGE = "c1-dup0.5"


def scenario() -> Scenario:
    tree = {
        "name": "cache-truth",
        "task": "embed",
        "model": "minilm-l6-v2",
        "deployments": {"base": {}},
        "grid": {"response_cache": [None, {"kind": "local", "size_mb": 1}], "repeats": 2, "order": "interleaved"},
        "workload": {"input_tokens": 10},
        "load": [{"concurrency": 1, "requests": REQUESTS, "duplicate_ratio": 0.5}],
    }
    return parse_scenario(tree, "cache").expanded()


def write_cache_run(path: Path, lost: int = 0, evictions: int = 0, warm: int = 0, hit_ms: int = HIT_MS) -> RunDirectory:
    """`lost` hits that the cache had forgotten, `warm` ones that it had from before; `hit_ms` over COMPUTED_MS is a cache that costs."""
    asked = scenario()
    plan = [{"stage": STAGE, "prompt": n, "warmup": False, "input_ids": [n - n % 2]} for n in range(REQUESTS)]
    served = []
    for number, name in enumerate(asked.deployments):
        cached, start_ns = name.startswith("cache1"), (10 + 10 * number) * S
        records = _records(hit_ms if cached else None, int(name[-1]), start_ns)
        end_ns = max(record.done_ns or 0 for record in records)
        series = _series(start_ns, end_ns, HITS - lost + warm if cached else 0, MISSES + lost - warm, evictions)
        windows = [window(STAGE, start_ns, end_ns, REQUESTS)]
        served.append(Served(records, windows, series, deployment=name, dtype="fp16", engine=encoder_engine, plan=plan))
    return write_run(path, asked, *served)


def _records(hit_ms: int | None, number: int, time_ns: int) -> list[RequestRecord]:
    records: list[RequestRecord] = []
    for index in range(REQUESTS):
        twin = index == REQUESTS - 1
        took_ns = (hit_ms if hit_ms and index % 2 and not twin else COMPUTED_MS[number]) * MS
        due_ns = records[-1].due_ns if twin else time_ns
        times = {"due_ns": due_ns, "sent_ns": due_ns, "done_ns": due_ns + took_ns}
        records.append(RequestRecord(index, STAGE, False, index, 10, 0, outcome=Outcome.COMPLETED, attempts=1, **times))
        time_ns = due_ns + took_ns
    return records


def _series(start_ns: int, end_ns: int, hits: int, misses: int, evictions: int) -> Series:
    computed = REQUESTS - hits
    counters = {"success_count": REQUESTS, "inference_count": computed, "execution_count": computed, "queue_ns": computed * QUEUE_NS}
    counters |= {"compute_input_ns": 0, "compute_infer_ns": computed * 9 * MS, "compute_output_ns": 0}
    series: Series = {(f"triton_{name}", ""): [(start_ns, 0), (end_ns, value)] for name, value in counters.items()}
    if hits:
        cache = {"hit_count": hits, "hit_ns": hits * LOOKUP_NS, "miss_count": misses, "miss_ns": misses * MISS_NS}
        gauges = {"entries": 40, "used_ratio": 0.25, "evictions": evictions}
        series |= {(f"response_cache_{name}", ""): [(end_ns, value)] for name, value in (cache | gauges).items()}
    return series
