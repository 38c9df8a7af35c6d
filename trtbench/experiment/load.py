"""The load experiment: every stage of a plan against one running deployment."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trtbench.load.client import Client
from trtbench.load.event_loop import no_collections, probe_lag
from trtbench.load.generator import Generator
from trtbench.load.plan import Plan, StagePlan
from trtbench.load.progress import LoadProgress
from trtbench.load.recorder import Recorder
from trtbench.load.stop import StopSignal
from trtbench.records import StageWindow
from trtbench.scenario import Stop

Ended = Literal["done", "interrupted", "error_bound", "server_lost"]


@dataclass(frozen=True)
class LoadHooks:
    """What the load tells its surroundings, all of it on the event loop's thread.

    `event(kind, data)`: stage_started (name, mode, asked, planned), stage_finished (a StageWindow), load_stopped (why, in which stage,
    stages_not_run). `snapshot()` reads the server's counters at a stage's borders. `loop_lag_ns` gets the lateness of each 10 ms timer.
    """

    event: Callable[[str, dict[str, Any]], None]
    snapshot: Callable[[], Awaitable[None] | None]
    loop_lag_ns: Callable[[int], None]


async def run_load(
    plan: Plan, limits: Stop, client: Client, recorder: Recorder, stop: StopSignal, progress: LoadProgress, hooks: LoadHooks
) -> Ended:
    """Run the stages one after another, each with its drain, until the last, an interrupt, a lost server or the error bound.

    Every planned request gets a record, those of stages that were not run too. Raises only what is no fault of a request:
    OSError when records cannot be written.
    """
    generator = Generator(client, recorder, stop, progress, limits.timeout_s, limits.drain_s)
    probe = asyncio.create_task(probe_lag(hooks.loop_lag_ns))
    try:
        for number, part in enumerate(plan.stages):
            ended, opened = await _run_stage(part, generator, stop, limits, hooks)
            if ended != "done":
                _give_up(plan.stages[number:], ended, opened, generator, hooks)
                return ended
        return "done"
    finally:
        probe.cancel()


async def _run_stage(part: StagePlan, generator: Generator, stop: StopSignal, limits: Stop, hooks: LoadHooks) -> tuple[Ended, bool]:
    """Warm-up, border, measured phase, border. (How it ended, whether the measured phase was opened)."""
    with no_collections():
        if part.warmup.requests:
            await generator.run(part.warmup)
        if stop.reason:
            return stop.reason, False
        stage = part.stage
        asked = {"name": stage.label, "mode": stage.mode, "asked": stage.level}
        hooks.event("stage_started", asked | {"planned": part.measured.planned})
        await _snapshot(hooks)
        result = await generator.run(part.measured)
        await _snapshot(hooks)
    ended: Ended = result.ended
    if ended == "done" and limits.error_ratio is not None and result.error_ratio > limits.error_ratio:
        ended = "error_bound"
    window = StageWindow(stage.label, stage.mode, stage.level, result.start_ns, result.end_ns, result.planned, ended)
    hooks.event("stage_finished", asdict(window))
    return ended, True


def _give_up(stages: tuple[StagePlan, ...], ended: Ended, opened: bool, generator: Generator, hooks: LoadHooks) -> None:
    """Account for what is not run any more. `stages`: the one that ended the load, then the rest."""
    last, *rest = stages
    if not opened:
        generator.skip(last.measured)
    for part in rest:
        generator.skip(part.warmup)
        generator.skip(part.measured)
    not_run = [part.stage.label for part in stages[opened:]]
    hooks.event("load_stopped", {"why": ended, "stage": last.stage.label, "stages_not_run": not_run})


async def _snapshot(hooks: LoadHooks) -> None:
    pending = hooks.snapshot()
    if inspect.isawaitable(pending):
        await pending
