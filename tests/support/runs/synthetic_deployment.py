"""A deployment whose server is arithmetic: users in a closed loop or Poisson arrivals, decode steps of fixed length with seeded jitter."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.records import MS, S
from tests.support.runs.facts import KV_BLOCK_TOKENS
from tests.support.runs.written_run import Series, Served
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.records import EngineCounts, Outcome, RequestRecord, ServerTimes
from trtbench.scenario.load.stage import Stage

Counts = Callable[[str, int], EngineCounts | None]
"""What the engine told of a completed request, by its stage and index."""
INPUT_TOKENS, OUTPUT_TOKENS = 128, 16
KV_BLOCKS, KV_BYTES_PER_TOKEN = 64, 23_040
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
RSS_BYTES = {"fp16": 1_200_000_000, "int8": 900_000_000}
SERVER_CORES = 0.97


@dataclass(frozen=True)
class Truth:
    """`kill_in`: the stage of this deployment halfway through which everything ended. `counts`: what the engine counted of each request."""

    dtype: str
    plan_sha256: str
    gpu: bool = False
    mixed: bool = False
    kill_in: str | None = None
    counts: Counts | None = None


class SyntheticDeployment:
    """Stage by stage."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.dtype = truth, truth.dtype
        self.requests: list[RequestRecord] = []
        self.windows: list[StageFinished] = []
        self.series: Series = {}
        self.random, self.lags = random.Random(self.dtype), random.Random(2)
        self.batches: dict[int, int] = {}

    def serve(self, load: tuple[Stage, ...], start_ns: int) -> Served:
        """The load from some seconds after `start_ns` on, when the server was ready."""
        time_ns = start_ns + 7 * S
        killed = False
        for stage in load:
            killed = stage.label == self.truth.kill_in
            time_ns = self.stage(stage, time_ns, killed) + S
            if killed:
                break
        else:
            self.sample(time_ns, [])
        return Served(
            self.requests,
            self.windows,
            self.series,
            facts=self.facts(),
            dtype=self.dtype,
            span_ns=(start_ns, time_ns),
            load_s=6.1,
            killed=killed,
        )

    def facts(self) -> dict[str, object]:
        return {
            "model_name": "tensorrt_llm",
            "model_version": "1",
            "kv_blocks": KV_BLOCKS,
            "kv_dtype": "fp16",
            "kv_bytes_per_token": KV_BYTES_PER_TOKEN,
            "kv_block_tokens": KV_BLOCK_TOKENS,
            "plan_sha256": self.truth.plan_sha256,
            "triton_version": "2.51.0",
            "server_flags": ["--model-control-mode=explicit"],
            "load_seconds": 6.1,
        }

    def stage(self, stage: Stage, time_ns: int, killed: bool) -> int:
        warm = self.loop(stage, time_ns, 1, WARMUP, warmup=True)
        start_ns = max(r.done_ns or 0 for r in warm) + 100 * MS
        users, count = int(stage.concurrency or 0), stage.requests or 0
        measured = self.loop(stage, start_ns + MS, users, count, warmup=False)
        records = warm + measured[: count // 2 if killed else count]
        end_ns = max(r.done_ns or 0 for r in records) + MS
        self.requests += records
        self.batches[1] = self.batches.get(1, 0) + WARMUP
        self.sample_stage(stage.label, records, start_ns, end_ns)
        self.windows.append(StageFinished(stage.label, stage.mode, stage.level, start_ns, end_ns, count, "done"))
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
        if self.truth.mixed:
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
        elif self.truth.mixed and index % CANCELLED_EVERY == 0:
            del record.token_ns[CANCELLED_AFTER:]
            record.outcome, record.error, record.done_ns = Outcome.CANCELLED, "planned: after 6 tokens", record.token_ns[-1]
            record.planned_cancel = True
        else:
            record.outcome, record.done_ns = Outcome.COMPLETED, record.token_ns[-1] + MS
            record.coalesced = [*COALESCED.get(label, ())]
            record.engine = self.truth.counts(label, index) if self.truth.counts else None
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
        if self.truth.gpu:
            values |= {("gpu_utilization_ratio", "0"): 0.93 * busy, ("gpu_memory_used_bytes", "0"): 20 * 2**30, ("gpu_power_w", "0"): 400.0}
            values |= {("gpu_sm_clock_mhz", "0"): 1755, ("gpu_temperature_c", "0"): 61, ("gpu_throttle_reasons", "0"): 0}
        for key, value in values.items():
            self.series.setdefault(key, []).append((time_ns, value))
