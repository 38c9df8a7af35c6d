"""Trial: one load against a calibration server, with its results and its cost.

The prompts of its plan contain the schedule that the server follows. It is sent by the ordinary load workers, which record as in any run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.client.protocol import NO_END_ID, Target
from trtbench.load.tally import LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.arrivals import Offsets
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.plan.plan_file import save_plan
from trtbench.rundir.event_kinds import as_json
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import NS_PER_S
from trtbench.system.leftovers import temporary_directory


@dataclass(frozen=True)
class Trial:
    """The results of a measured phase. `cores` is the CPU that all workers used, including recording; `facts` are of the first worker's
    transport."""

    records: list[RequestRecord]
    duration_s: float
    cores: float
    facts: dict[str, Any]

    @property
    def responses(self) -> int:
        return sum(len(record.token_ns) for record in self.records)

    @property
    def cpu_s(self) -> float:
        return self.cores * self.duration_s

    @property
    def completed(self) -> list[RequestRecord]:
        return [record for record in self.records if record.outcome is Outcome.COMPLETED]

    @property
    def failures(self) -> list[RequestRecord]:
        return [record for record in self.records if record.outcome is not Outcome.COMPLETED]


_MOST_US = 2**31 - 1
_WARMUP_GAP_NS = 1_000_000


def prompt(first_us: int, gap_us: int, responses: int) -> PlannedPrompt:
    """A prompt that requests the first response after `first_us` and each further one `gap_us` later; a gap of 0 is as fast as possible."""
    if not (0 <= first_us <= _MOST_US and 0 <= gap_us <= _MOST_US):
        raise ValueError(f"delays of {first_us} and {gap_us} us do not fit 31 bits")
    return PlannedPrompt(np.array([first_us, gap_us], np.int32), responses, seed=0)


_WARMUP = prompt(1000, 1000, 4)


def closed_loop(streams: int, asks: tuple[PlannedPrompt, ...], duration_s: float) -> Plan:
    """A closed loop of `streams`: each sends its next request, of `asks` in turn, as soon as the one before is done."""
    return _plan(Stage(concurrency=streams, duration_s=duration_s, warmup_requests=streams), asks)


def one_request_each(streams: int, ask: PlannedPrompt) -> Plan:
    """One request on each of `streams`, all at the same time, for benchmarks/scale.py."""
    return _plan(Stage(concurrency=streams, requests=streams, warmup_requests=streams), (ask,) * streams)


def poisson(rate: float, ask: PlannedPrompt, duration_s: float) -> Plan:
    """An open loop of `rate` x `duration_s` requests with exponential gaps, after a warm-up of one second, of up to 100 requests."""
    requests = max(round(rate * duration_s), 1)
    gaps_ns = np.random.default_rng(1).exponential(NS_PER_S / rate, requests)
    stage = Stage(mode="poisson", rate=rate, requests=requests, warmup_requests=min(round(rate) or 1, 100))
    return _plan(stage, (ask,), np.cumsum(gaps_ns).round().astype(np.int64), np.arange(stage.warmup_requests) * _WARMUP_GAP_NS)


def _plan(stage: Stage, asks: tuple[PlannedPrompt, ...], due_ns: Offsets | None = None, warmup_due_ns: Offsets | None = None) -> Plan:
    """A warm-up of one short request a stream, then `asks` in turn."""
    warmup = Phase(stage, True, (_WARMUP,) * stage.warmup_requests, len(asks), warmup_due_ns)
    return Plan((StagePlan(stage, warmup, Phase(stage, False, asks, 0, due_ns)),))


_TIMEOUT_S = 60.0


async def run_trial(target: Target, settings: ClientSettings, plan: Plan) -> Trial:
    """Run the single stage of `plan`, its warm-up first, with `settings.workers` processes or one. ConnectError if the server is not
    reached."""
    (stage,) = plan.stages
    with temporary_directory() as name:
        directory = Path(name)
        save_plan(plan, directory / "plan.jsonl")
        config = WorkerConfig(
            number=0,
            plan=directory / "plan.jsonl",
            requests=directory / "requests.jsonl",
            samples=directory / "samples.jsonl",
            target=target,
            workload=Workload(),
            settings=settings,
            end_id=NO_END_ID,
            timeout_s=_TIMEOUT_S,
            drain_s=_TIMEOUT_S,
        )
        pool = WorkerPool(config, LoadProgress())
        try:
            await pool.grow(settings.workers or 1)
            await pool.prepare_phase(0, stage.warmup)
            await pool.run_phase()
            await pool.prepare_phase(0, stage.measured)
            result = await pool.run_phase()
        finally:
            facts = await pool.close()
        records = [
            RequestRecord.from_json(row) for path in directory.glob("requests*.jsonl") for row in read_lines(path) if not row["warmup"]
        ]
    return Trial(records, (result.end_ns - result.start_ns) / NS_PER_S, pool.cores, as_json(facts[0]) or {})
