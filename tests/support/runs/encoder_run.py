"""Writes a run of an encoder whose truth is known: a grid of two queue delays, each served twice, under users and Poisson arrivals.

The "server" is arithmetic: c users are served as one batch, which takes BASE_MS + c * EACH_MS and the queue delay; open loops one by one.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.records import MS, S
from tests.support.runs.facts import encoder_engine
from tests.support.runs.written_run import Series, Served, window, write_run
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

BASE_MS, EACH_MS = 20, 5
DELAYS_MS = {"d0": 0, "d5000": 5}
ROUNDS = {1: 40, 4: 30, 8: 130}
"""Batches by users: 1,040 requests at 8 users, so that only there is a P99."""
SINGLES = 40
INPUT_TOKENS = 100
QUEUE_MS = {"d0": 1, "d5000": 60}
"""Mean time in Triton's queue: longer than the compute of a batch in the cells with a delay."""
LAG_NS = 50_000
REJECTED = 3
"""Requests of each open loop that the queue refused."""


def batch_ms(users: int, cell: str) -> int:
    return BASE_MS + EACH_MS * users + DELAYS_MS[cell]


def scenario(slo: bool = False) -> Scenario:
    return parse_scenario(
        {
            "name": "encoder-truth",
            "task": "embed",
            "model": "minilm-l6-v2",
            "deployments": {"base": {"max_batch_size": 8}},
            "grid": {"max_queue_delay_us": [0, 5000], "repeats": 2, "order": "interleaved"},
            "workload": {"input_tokens": INPUT_TOKENS},
            "load": [{"concurrency": c, "requests": c * n} for c, n in ROUNDS.items()]
            + [{"mode": "constant", "rate": 10, "requests": SINGLES + REJECTED}],
            "slo": {"e2e_latency_ms": 62} if slo else {},
        },
        "encoder",
    ).expanded()


def write_encoder_run(path: Path, slo: bool = False) -> RunDirectory:
    asked, time_ns, served = scenario(slo), 10 * S, []
    for name in asked.deployments:
        one = _Deployment(name)
        for stage in asked.load:
            time_ns = one.stage(stage, time_ns + S)
        time_ns += S
        served.append(Served(one.requests, one.windows, one.series, deployment=name, dtype="fp16", engine=encoder_engine))
    return write_run(path, asked, *served)


class _Deployment:
    def __init__(self, name: str) -> None:
        self.cell = name.removesuffix("-r1").removesuffix("-r2")
        self.requests: list[RequestRecord] = []
        self.windows: list[StageFinished] = []
        self.series: Series = {}
        self.counters: dict[tuple[str, str], int] = {}

    def stage(self, stage: Stage, start_ns: int) -> int:
        users = int(stage.level) if stage.mode == "concurrency" else 1
        rounds = ROUNDS[users] if stage.mode == "concurrency" else SINGLES
        took_ns = batch_ms(users, self.cell) * MS
        gap_ns = took_ns if stage.mode == "concurrency" else S // 10
        records = [self.request(stage, n * users + u, start_ns + n * gap_ns, took_ns) for n in range(rounds) for u in range(users)]
        if stage.mode != "concurrency":
            records += [self.refused(stage, SINGLES + n, start_ns + (SINGLES + n) * gap_ns) for n in range(REJECTED)]
        end_ns = max(record.done_ns or 0 for record in records) + MS
        self.sample(start_ns)
        self.count(users, rounds, took_ns)
        self.sample(end_ns)
        self.requests += records
        self.windows.append(window(stage.label, start_ns, end_ns, len(records), stage.level, stage.mode))
        return end_ns

    def request(self, stage: Stage, index: int, due_ns: int, took_ns: int) -> RequestRecord:
        sent_ns, done_ns = due_ns + MS // 10, due_ns + took_ns
        times = {"due_ns": due_ns, "sent_ns": sent_ns, "done_ns": done_ns, "done_lag_ns": LAG_NS}
        return RequestRecord(index, stage.label, False, index, INPUT_TOKENS, 0, outcome=Outcome.COMPLETED, attempts=1, **times)

    def refused(self, stage: Stage, index: int, due_ns: int) -> RequestRecord:
        times = {"due_ns": due_ns, "sent_ns": due_ns + MS // 10, "done_ns": due_ns + MS}
        why = "Exceeds maximum queue size"
        return RequestRecord(index, stage.label, False, index, INPUT_TOKENS, 0, outcome=Outcome.REJECTED, error=why, attempts=1, **times)

    def count(self, batch: int, executions: int, took_ns: int) -> None:
        """Every request of a batch is counted with all of the batch's time, as Triton does."""
        done = batch * executions
        rises = {
            ("triton_inference_count", ""): done,
            ("triton_execution_count", ""): executions,
            ("triton_success_count", ""): done,
            ("triton_batch_executions", str(batch)): executions,
            ("triton_queue_ns", ""): done * QUEUE_MS[self.cell] * MS,
            ("encoder_tokens", "input"): done * INPUT_TOKENS,
            ("encoder_tokens", "padding"): done * INPUT_TOKENS * (batch - 1) // 8,
            ("triton_compute_input_ns", ""): done * MS,
            ("triton_compute_infer_ns", ""): done * (took_ns - 3 * MS),
            ("triton_compute_output_ns", ""): done * 2 * MS,
        }
        for key, rise in rises.items():
            self.counters[key] = self.counters.get(key, 0) + rise

    def sample(self, time_ns: int) -> None:
        busy = {("server_cpu_cores", ""): 0.5, ("client_cpu_cores", ""): 0.1, ("machine_cpu_ratio", ""): 0.3}
        zero = dict.fromkeys([(f"triton_{n}", "") for n in ("inference_count", "execution_count", "success_count", "queue_ns")], 0)
        zero |= {("encoder_tokens", kind): 0 for kind in ("input", "padding")}
        zero |= {(f"triton_compute_{n}_ns", ""): 0 for n in ("input", "infer", "output")}
        values = zero | self.counters | busy | {("client_loop_lag_ns", "0"): 0, ("client_worker_cpu_cores", "0"): 0.1}
        for key, value in values.items():
            self.series.setdefault(key, []).append((time_ns, value))
