"""Writes a run with a response cache off and on, of planted truth: every second request repeats the one before it.

A computed request takes COMPUTED_MS, a cached one HIT_MS. The last request is sent with the one it repeats, so no cache can answer it, and
Triton counts it as neither hit nor miss.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.support.encoder_run import engine
from tests.support.synthetic_run import CLIENT_FACTS, MS, S, environment
from trtbench.rundir import DeploymentDirectory, LineWriter, RunDirectory, sample_row
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.records import Event, Outcome, RequestRecord, Sample
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
    run, asked = RunDirectory.create(path), scenario()
    (path / "scenario.yaml").write_text(asked.dump(), encoding="utf-8")
    run.write_environment(environment())
    run.append_event(Event(S, "run_started", "", {"command": ["trtbench"]}))
    for number, name in enumerate(asked.deployments):
        start_ns = (10 + 10 * number) * S
        directory = run.deployment(f"{name}-fp16")
        records = _records(hit_ms if name.startswith("cache1") else None, int(name[-1]), start_ns)
        end_ns = max(record.done_ns or 0 for record in records)
        _facts(directory, asked, name)
        _samples(directory, start_ns, end_ns, HITS - lost + warm if name.startswith("cache1") else 0, MISSES + lost - warm, evictions)
        writer = LineWriter(directory.requests_jsonl())
        writer.write(*(record.to_json() for record in records))
        writer.close()
        directory.seal()
        window = StageFinished(STAGE, "concurrency", 1, start_ns, end_ns, REQUESTS, "done")
        run.append_event(Event(start_ns, "deployment_started", directory.name))
        run.append_event(Event(start_ns, "server_ready", directory.name, {"seconds": 1.0}))
        run.append_event(Event(end_ns, "stage_finished", directory.name, asdict(window)))
        run.append_event(Event(end_ns, "load_client", directory.name, {"workers": [CLIENT_FACTS]}))
        run.append_event(Event(end_ns, "deployment_finished", directory.name))
    run.append_event(Event(100 * S, "run_finished"))
    return run


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


def _facts(directory: DeploymentDirectory, asked: Scenario, name: str) -> None:
    engine(directory.path).save()
    config = asked.deployments[name].model_dump(mode="json")
    facts = {"name": directory.name, "deployment": name, "dtype": "fp16", "provider": "openvino", "config": config, "mode": "own"}
    directory.write_json("deployment.json", facts | {"max_batch_size": 8, "plan_sha256": "a" * 64})
    rows = [{"stage": STAGE, "prompt": n, "warmup": False, "input_ids": [n - n % 2]} for n in range(REQUESTS)]
    directory.plan_jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _samples(directory: DeploymentDirectory, start_ns: int, end_ns: int, hits: int, misses: int, evictions: int) -> None:
    computed = REQUESTS - hits
    counters = {f"triton_{name}": REQUESTS for name in ("success_count",)}
    counters |= {f"triton_{name}": computed for name in ("inference_count", "execution_count")}
    counters |= {"triton_queue_ns": computed * QUEUE_NS, "triton_compute_input_ns": 0, "triton_compute_output_ns": 0}
    counters["triton_compute_infer_ns"] = computed * 9 * MS
    before = [Sample(start_ns, name, "", 0.0) for name in counters]
    after = [Sample(end_ns, name, "", float(value)) for name, value in counters.items()]
    if hits:
        cache = {"hit_count": hits, "hit_ns": hits * LOOKUP_NS, "miss_count": misses, "miss_ns": misses * MISS_NS}
        after += [Sample(end_ns, f"response_cache_{name}", "", float(value)) for name, value in cache.items()]
        gauges = {"entries": 40.0, "used_ratio": 0.25, "evictions": float(evictions)}
        after += [Sample(end_ns, f"response_cache_{name}", "", value) for name, value in gauges.items()]
    writer = LineWriter(directory.samples_jsonl)
    writer.write(*map(sample_row, [*before, *after]))
    writer.close()
