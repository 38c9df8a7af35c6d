"""Writes a whole run directory whose truth is known, as if FP16 and INT8 engines had been measured under four stages.

The "server" is arithmetic: a closed loop of c users on decode steps of fixed length with seeded jitter. What tests may expect is in
the constants below and in `SyntheticRun.requests`, the records as written.
"""

from __future__ import annotations

import atexit
import math
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.records import MS, S
from trtbench.engine.spec import Engine, ModelFacts
from trtbench.rundir import DeploymentDirectory, LineWriter, RunDirectory, sample_row
from trtbench.rundir.event_kinds import BuildStep, StageFinished
from trtbench.rundir.records import EngineCounts, Environment, Event, Outcome, RequestRecord, Sample, ServerTimes
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

Counts = Callable[[str, int], EngineCounts | None]
"""What the engine told of a completed request, by its stage and index."""
INPUT_TOKENS, OUTPUT_TOKENS = 128, 16
KV_BLOCKS, KV_BLOCK_TOKENS, KV_BYTES_PER_TOKEN = 64, 32, 23_040
COUNTS = {"c1": 40, "c4": 200, "c8": 1010, "poisson-2": 120}
SMALL_COUNTS = {"c1": 8, "c4": 16, "c8": 24, "poisson-2": 8}
WARMUP = 5
STEP_MS = {"fp16": {"c1": 20, "c4": 25, "c8": 54, "poisson-2": 22}, "int8": {"c1": 14, "c4": 18, "c8": 24, "poisson-2": 16}}
"""FP16 gains next to nothing from 4 to 8 users (a knee at 4); INT8 still does."""
PREFILL_MS = {"fp16": 60, "int8": 45}
REJECTED = {"c8": (100, 200, 300)}
TIMED_OUT = {"c8": (400,)}
BATCHES = {"c1": {1: 40}, "c4": {1: 100, 2: 30, 4: 10}, "c8": {1: 207, 2: 150, 4: 75, 8: 25}, "poisson-2": {1: 100, 2: 10}}
"""Executions by size of Triton's batcher in each stage: one inference for every request that was not rejected."""
DIVERGES_EVERY, DIVERGES_AT = 4, 8
"""INT8 says something else from token 8 on, for every fourth prompt."""
RETRIED = {"c8": (500,)}
COALESCED = {"c4": (3, 4)}
"""Positions of each completed request's tokens that were read together."""
CANCELLED_EVERY, CANCELLED_AFTER = 10, 6
"""In a mixed run every tenth request of a stage is cancelled as planned, after six tokens."""
LAG_NS = (20_000, 60_000)
ENGINE_BYTES = {"fp16": 269_000_000, "int8": 135_000_000}
RSS_BYTES = {"fp16": 1_200_000_000, "int8": 900_000_000}
SERVER_CORES = 0.97


CLIENT_FACTS = {
    "transport": "wire",
    "loop": "uvloop",
    "stamps": "kernel",
    "stamps_why": "",
    "connections": 8,
    "connections_opened": 8,
    "connections_lost": 0,
    "streams_per_connection": 1,
    "stamped_reads": 20_000,
    "stamp_fallbacks": 0,
    "clock_offset_drift_ns": 900,
    "clock_steps": 0,
}


@dataclass
class SyntheticRun:
    run: RunDirectory
    scenario: Scenario
    requests: dict[str, list[RequestRecord]] = field(default_factory=dict)
    windows: dict[tuple[str, str], StageFinished] = field(default_factory=dict)

    def measured(self, deployment: str, stage: str) -> list[RequestRecord]:
        return [r for r in self.requests[deployment] if r.stage == stage and not r.warmup]

    def completed(self, deployment: str, stage: str) -> list[RequestRecord]:
        return [r for r in self.measured(deployment, stage) if r.outcome is Outcome.COMPLETED]


def scenario_of(model: str = "smollm2-135m", mixed: bool = False, requests: Mapping[str, int] = COUNTS) -> Scenario:
    kinds = {"mix": {"chat": {"weight": 3, "sessions": {"turns": 2}}, "search": {"cancel": {"ratio": 0.1, "after_tokens": 6}}}}
    loop = [{"concurrency": c, "requests": requests[f"c{c}"], "warmup_requests": WARMUP} for c in (1, 4, 8)]
    return parse_scenario(
        {
            "name": "synthetic",
            "purpose": "A run with known truth.",
            "model": model,
            "engines": ["fp16", "int8"],
            "deployments": {"default": {"kv_cache": {"blocks": KV_BLOCKS}, "dynamic_batching": {"max_queue_delay_us": 2000}}},
            "workload": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS} | (kinds if mixed else {}),
            "load": [*loop, {"mode": "poisson", "rate": 2, "requests": requests["poisson-2"], "warmup_requests": WARMUP}],
            "slo": {"ttft_ms": 200, "e2e_latency_ms": 1000},
        },
        "synthetic",
    )


def write_synthetic_run(
    path: Path,
    *,
    model: str = "smollm2-135m",
    gpu: bool = False,
    kill_in: str | None = None,
    same_plan: bool = True,
    mixed: bool = False,
    counts: Counts | None = None,
    small: bool = False,
) -> SyntheticRun:
    """A run of its own, copied where this process has written the same one before.

    `kill_in` ends everything halfway through that stage of the second engine: no window, no Parquet, a torn last line.

    `mixed`: two components, one of them in sessions of two turns, the other with planned cancellations.
    `small`: a few requests a stage, for tests that look at no figure.
    """
    key = (model, gpu, kill_in, same_plan, mixed, counts, small)
    if key not in _WRITTEN:
        if not _WRITTEN:
            atexit.register(shutil.rmtree, _ORIGINALS, ignore_errors=True)
        _WRITTEN[key] = _write(_ORIGINALS / str(len(_WRITTEN)), *key)
    written = _WRITTEN[key]
    shutil.copytree(written.run.path, path)
    return replace(written, run=RunDirectory.open(path))


_ORIGINALS = Path(tempfile.gettempdir()) / f"trtbench-synthetic-{os.getpid()}"
_WRITTEN: dict[tuple[Any, ...], SyntheticRun] = {}


def _write(
    path: Path, model: str, gpu: bool, kill_in: str | None, same_plan: bool, mixed: bool, counts: Counts | None, small: bool
) -> SyntheticRun:
    path.parent.mkdir(exist_ok=True)
    synthetic = SyntheticRun(RunDirectory.create(path), scenario_of(model, mixed, SMALL_COUNTS if small else COUNTS))
    run = synthetic.run
    (path / "scenario.yaml").write_text(synthetic.scenario.dump(), encoding="utf-8")
    run.write_environment(environment(gpu))
    run.append_event(Event(S, "run_started", "", {"scenario": "synthetic", "command": ["trtbench", "serve-and-bench", "synthetic.yaml"]}))
    time_ns = 10 * S
    for dtype in synthetic.scenario.engines:
        killed = kill_in if dtype == "int8" else None
        time_ns = _Writer(synthetic, dtype, gpu, same_plan, mixed, counts).write(time_ns, killed)
    if kill_in is None:
        run.append_event(Event(time_ns + S, "run_finished"))
    return synthetic


def environment(gpu: bool = False) -> Environment:
    return Environment(
        trtbench_version="0.1.0",
        started_utc="2026-11-03T08:00:00+00:00",
        anchor_monotonic_ns=S,
        anchor_wall_ns=1_793_692_800 * S,
        hostname_sha256="0" * 64,
        platform="Linux-6.1.0-x86_64",
        python="3.11.2",
        cpu_model="Example CPU @ 2.60GHz",
        cpu_count=2,
        memory_bytes=16 * 2**30,
        gpus=[{"index": 0, "name": "NVIDIA H100 80GB HBM3", "memory_bytes": 80 * 2**30}] if gpu else [],
        nvml="driver 550.54.14" if gpu else "no NVIDIA driver (libnvidia-ml.so.1 is not there)",
        packages={"nvidia-pytriton": "0.7.0", "openvino-genai": "2026.4.1"},
        variables={},
    )


def engine(path: Path, dtype: str, model: str) -> Engine:
    return Engine(
        path=path,
        model=model,
        dtype="fp16" if dtype == "fp16" else "int8",
        provider="openvino",
        provider_versions={"openvino-genai": "2026.4.1"},
        model_facts=ModelFacts(layers=30, kv_heads=3, head_dim=64, max_positions=8192, vocabulary_tokens=49152, eos_token_id=2),
        weights_dtype=dtype,
        kv_block_tokens=KV_BLOCK_TOKENS,
        checkpoint_sha256="c" * 64,
        options={},
        sha256=("f" if dtype == "fp16" else "8") * 64,
        size_bytes=ENGINE_BYTES[dtype],
        build_steps=(BuildStep("export", 20.5), BuildStep("compress", 4.5)),
        built_utc="2026-11-03T07:59:00+00:00",
    )


class _Writer:
    """One deployment, stage by stage."""

    def __init__(self, synthetic: SyntheticRun, dtype: str, gpu: bool, same_plan: bool, mixed: bool, counts: Counts | None) -> None:
        self.synthetic, self.dtype, self.gpu, self.mixed, self.counts = synthetic, dtype, gpu, mixed, counts
        self.name = f"default-{dtype}"
        self.directory: DeploymentDirectory = synthetic.run.deployment(self.name)
        self.requests = LineWriter(self.directory.requests_jsonl())
        self.samples = LineWriter(self.directory.samples_jsonl)
        self.random, self.lags = random.Random(dtype), random.Random(2)
        self.batches: dict[int, int] = {}
        self.plan_sha256 = ("a" if same_plan or dtype == "fp16" else "b") * 64

    def event(self, time_ns: int, kind: str, **data: object) -> None:
        self.synthetic.run.append_event(Event(time_ns, kind, self.name, data))

    def write(self, time_ns: int, kill_in: str | None) -> int:
        scenario = self.synthetic.scenario
        self.synthetic.requests[self.name] = []
        self.event(time_ns, "deployment_started")
        engine(self.directory.path, self.dtype, scenario.model).save()
        self.directory.write_json("deployment.json", self.deployment_json())
        self.event(time_ns + 6 * S, "server_ready", seconds=6.1)
        time_ns += 7 * S
        for stage in scenario.load:
            killed = stage.label == kill_in
            time_ns = self.stage(stage, time_ns, killed) + S
            if killed:
                self.torn()
                return time_ns
        self.sample(time_ns, [])
        self.event(time_ns, "load_client", workers=[CLIENT_FACTS])
        self.event(time_ns, "deployment_finished")
        self.requests.close()
        self.samples.close()
        self.directory.seal()
        return time_ns

    def torn(self) -> None:
        for path in (self.directory.requests_jsonl(), self.directory.samples_jsonl):
            with path.open("a", encoding="utf-8") as lines:
                lines.write('{"index": 7')

    def stage(self, stage: Stage, time_ns: int, killed: bool) -> int:
        warm = self.loop(stage, time_ns, 1, WARMUP, warmup=True)
        start_ns = max(r.done_ns or 0 for r in warm) + 100 * MS
        users = stage.concurrency or 0
        count = stage.requests or 0
        measured = self.loop(stage, start_ns + MS, users, count, warmup=False)
        self.event(start_ns, "stage_started", name=stage.label, mode=stage.mode, asked=stage.level, planned=count)
        records = warm + measured[: count // 2 if killed else count]
        end_ns = max(r.done_ns or 0 for r in records) + MS
        for request in records:
            self.requests.write(request.to_json())
        self.synthetic.requests[self.name] += records
        self.batches[1] = self.batches.get(1, 0) + WARMUP
        self.sample_stage(stage.label, records, start_ns, end_ns)
        if not killed:
            window = StageFinished(stage.label, stage.mode, stage.level, start_ns, end_ns, count, "done")
            self.synthetic.windows[self.name, stage.label] = window
            self.event(end_ns, "stage_finished", **asdict(window))
        return end_ns

    def loop(self, stage: Stage, start_ns: int, users: int, count: int, warmup: bool) -> list[RequestRecord]:
        """A closed loop of `users`, or with none, Poisson arrivals at the stage's rate."""
        free = [start_ns + i * 5 * MS for i in range(users)]
        arrivals = random.Random(1)
        due_ns, records = start_ns, []
        for index in range(count):
            if users:
                user = free.index(min(free))
                due_ns = free[user]
            record = self.request(stage, index, due_ns, warmup)
            records.append(record)
            if users:
                free[user] = record.done_ns or due_ns
            else:
                due_ns += round(arrivals.expovariate(stage.level) * S)
        return records

    def request(self, stage: Stage, index: int, due_ns: int, warmup: bool) -> RequestRecord:
        label, draw = stage.label, self.random
        record = RequestRecord(index, label, warmup, index, INPUT_TOKENS, OUTPUT_TOKENS, due_ns)
        sent_ns = record.sent_ns = due_ns + round(draw.lognormvariate(math.log(0.15), 0.4) * MS)
        record.model_version, record.attempts = "1", 1
        if self.mixed:
            chat = 1 <= index % CANCELLED_EVERY <= 8
            record.mix, record.session, record.turn = ("chat", (index + 1) // 2, (index + 1) % 2) if chat else ("search", None, 0)
        if not warmup and index in REJECTED.get(label, ()):
            record.outcome, record.error, record.done_ns = Outcome.REJECTED, "Exceeds maximum queue size", sent_ns + 2 * MS
            return record
        queue_ns = round(draw.expovariate(1 / (0.05 * PREFILL_MS[self.dtype])) * MS * max(stage.concurrency or 2, 1))
        prefill_ns = round(PREFILL_MS[self.dtype] * draw.lognormvariate(0, 0.15) * MS)
        first_ns = sent_ns + MS // 5 + queue_ns + prefill_ns
        step_ns = STEP_MS[self.dtype][label] * MS
        record.token_ns = [first_ns]
        for _ in range(OUTPUT_TOKENS - 1):
            record.token_ns.append(record.token_ns[-1] + round(step_ns * draw.lognormvariate(0, 0.08)))
        if not warmup and index in TIMED_OUT.get(label, ()):
            del record.token_ns[4:]
            record.outcome, record.error, record.done_ns = Outcome.TIMEOUT, "not done within the time limit", sent_ns + 2 * S
        elif self.mixed and index % CANCELLED_EVERY == 0:
            del record.token_ns[CANCELLED_AFTER:]
            record.outcome, record.error, record.done_ns = Outcome.CANCELLED, "planned: after 6 tokens", record.token_ns[-1]
            record.planned_cancel = True
        else:
            record.outcome, record.done_ns = Outcome.COMPLETED, record.token_ns[-1] + MS
            record.coalesced = [*COALESCED.get(label, ())]
            record.engine = self.counts(label, index) if self.counts else None
            record.attempts = 2 if not warmup and index in RETRIED.get(label, ()) else 1
        record.token_lag_ns = [self.lags.randint(*LAG_NS) for _ in record.token_ns]
        record.token_counts = [1] * len(record.token_ns)
        record.output_ids = self.output_ids(index)[: len(record.token_ns)]
        scheduled_ns = sent_ns + MS // 5 + queue_ns
        stamps = (sent_ns + MS // 5, scheduled_ns, first_ns - 3 * MS // 10, record.token_ns[-1] - 3 * MS // 10)
        record.server = ServerTimes(*stamps)
        return record

    def output_ids(self, prompt: int) -> list[int]:
        ids = [(prompt * 31 + position * 7) % 49152 for position in range(OUTPUT_TOKENS)]
        if self.dtype == "int8" and prompt % DIVERGES_EVERY == 0:
            ids[DIVERGES_AT:] = [(token + 1) % 49152 for token in ids[DIVERGES_AT:]]
        return ids

    def sample_stage(self, label: str, records: list[RequestRecord], start_ns: int, end_ns: int) -> None:
        """Readings at both borders and every 250 ms between; batch counters rise in step with time."""
        before = dict(self.batches)
        for time_ns in [*range(start_ns, end_ns, 250 * MS), end_ns]:
            share = (time_ns - start_ns) / (end_ns - start_ns)
            self.batches = {size: before.get(size, 0) for size in before}
            for size, count in BATCHES[label].items():
                if before.get(size, 0) or share * count >= 1:
                    self.batches[size] = before.get(size, 0) + int(share * count)
            self.sample(time_ns, [r for r in records if r.due_ns <= time_ns < (r.done_ns or 0)])

    def sample(self, time_ns: int, live: list[RequestRecord]) -> None:
        running = [r for r in live if r.server and r.server.first_scheduled_ns <= time_ns]
        tokens = [r.input_tokens + sum(at <= time_ns for at in r.token_ns) for r in running]
        inferences = sum(size * count for size, count in self.batches.items())
        busy = 1.0 if live else 0.0
        values: dict[tuple[str, str], float] = {
            ("triton_inference_count", ""): inferences,
            ("triton_execution_count", ""): sum(self.batches.values()),
            ("triton_success_count", ""): inferences,
            ("triton_queue_ns", ""): inferences * 2 * MS,
            ("triton_pending_requests", ""): 0,
            ("inflight_active_requests", ""): len(live),
            ("inflight_scheduled_requests", ""): len(running),
            ("inflight_waiting_requests", ""): len(live) - len(running),
            ("inflight_max_requests", ""): 32,
            ("kv_blocks_max", ""): KV_BLOCKS,
            ("kv_blocks_used", ""): sum(-(-n // KV_BLOCK_TOKENS) for n in tokens),
            ("kv_block_tokens", ""): KV_BLOCK_TOKENS,
            ("engine_memory_bytes", "cpu"): KV_BLOCKS * KV_BLOCK_TOKENS * KV_BYTES_PER_TOKEN,
            ("server_cpu_cores", ""): SERVER_CORES * busy,
            ("server_rss_bytes", ""): RSS_BYTES[self.dtype],
            ("server_fds", ""): 64,
            ("server_threads", ""): 40,
            ("client_cpu_cores", ""): 0.12 * busy,
            ("client_rss_bytes", ""): 150_000_000,
            ("client_loop_lag_ns", "0"): 400_000,
            ("client_gc_pause_ns", "0"): 0,
            ("client_worker_cpu_cores", "0"): 0.11 * busy,
            ("machine_cpu_ratio", ""): 0.57 * busy,
            ("machine_memory_available_bytes", ""): 10 * 2**30,
        }
        values |= {("triton_batch_executions", str(size)): count for size, count in self.batches.items()}
        if self.gpu:
            values |= {("gpu_utilization_ratio", "0"): 0.93 * busy, ("gpu_memory_used_bytes", "0"): 20 * 2**30, ("gpu_power_w", "0"): 400.0}
            values |= {("gpu_sm_clock_mhz", "0"): 1755, ("gpu_temperature_c", "0"): 61, ("gpu_throttle_reasons", "0"): 0}
        self.samples.write(*(sample_row(Sample(time_ns, name, label, value)) for (name, label), value in values.items()))

    def deployment_json(self) -> dict[str, object]:
        scenario = self.synthetic.scenario
        return {
            "name": self.name,
            "deployment": "default",
            "dtype": self.dtype,
            "provider": "openvino",
            "model_name": "tensorrt_llm",
            "model_version": "1",
            "config": scenario.deployments["default"].model_dump(mode="json"),
            "kv_blocks": KV_BLOCKS,
            "kv_dtype": "fp16",
            "kv_bytes_per_token": KV_BYTES_PER_TOKEN,
            "kv_block_tokens": KV_BLOCK_TOKENS,
            "max_batch_size": 8,
            "plan_sha256": self.plan_sha256,
            "triton_version": "2.51.0",
            "server_flags": ["--model-control-mode=explicit"],
            "load_seconds": 6.1,
            "mode": "own",
        }
