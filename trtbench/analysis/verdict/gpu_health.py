"""Settings that a run held on its GPUs, and faults of the GPUs: errors, other users, clocks that were not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.verdict import Grade, Reason
from trtbench.experiments.registry import EXPERIMENTS
from trtbench.rundir.event_kinds import StageStarted, TelemetryFinished
from trtbench.rundir.events import every, first
from trtbench.rundir.gpu_events import GpuBallast, GpuBusy, GpuCooled, GpuLocked, GpuNotRestored, GpuRestored, GpuSetting
from trtbench.rundir.records import Event
from trtbench.rundir.samples import Samples

FATAL_XIDS = frozenset({48, 64, 74, 79, 92, 94, 95, 119, 120, 140})
"""XIDs of the hardware, its links or firmware (NVIDIA's list of XIDs). Other XIDs may be caused by a program."""

KEPT_RATIO = 0.98
"""The mean clock of a stage divided by the requested clock, below which the clock was not kept."""


@dataclass(frozen=True, slots=True)
class GpuHealth:
    """One GPU over a deployment, including the loading of the model. None: not reported."""

    xids: tuple[int, ...] = ()
    ecc_uncorrected: int | None = None
    lost: bool = False
    other_processes: int | None = None  # most at once


@dataclass(frozen=True, slots=True)
class HeldGpu:
    """A GPU with the settings that the run set. `settings` have units in their names; `previous` is None if the earlier settings are
    unknown.
    """

    gpu: str
    settings: Mapping[str, GpuSetting]
    previous: Mapping[str, GpuSetting]
    ballast_bytes: int | None
    put_back: bool


def gpu_health(samples: Samples) -> dict[str, GpuHealth]:
    gpus = samples.labels("gpu_xid", "gpu_ecc_uncorrected", "gpu_lost", "gpu_other_processes")
    return {gpu: _health(samples, gpu) for gpu in gpus}


def _health(samples: Samples, label: str) -> GpuHealth:
    _, xids = samples.series("gpu_xid", label)
    _, errors = samples.series("gpu_ecc_uncorrected", label)
    _, others = samples.series("gpu_other_processes", label)
    return GpuHealth(
        xids=tuple(int(xid) for xid in xids),
        ecc_uncorrected=int(errors.max() - errors[0]) if len(errors) else None,
        lost=len(samples.series("gpu_lost", label)[1]) > 0,
        other_processes=int(others.max()) if len(others) else None,
    )


def held_gpus(events: Sequence[Event]) -> tuple[HeldGpu, ...]:
    """The GPUs whose settings the run changed, according to its events, in the order of their numbers."""
    ballast: Counter[str] = Counter()  # added over a GPU's MIG instances
    for one in every(events, GpuBallast):
        ballast[str(one.gpu)] += one.held_bytes
    locked = {str(one.gpu): one for one in every(events, GpuLocked)}
    back = {str(one.gpu) for one in every(events, GpuRestored) if not one.left_by}
    failed = {str(one.gpu) for one in every(events, GpuNotRestored)}
    return tuple(
        HeldGpu(
            gpu=gpu,
            settings=locked[gpu].settings if gpu in locked else {},
            previous=locked[gpu].previous if gpu in locked else {},
            ballast_bytes=ballast.get(gpu),
            put_back=(gpu in back or gpu not in locked) and gpu not in failed,
        )
        for gpu in sorted(ballast.keys() | locked.keys(), key=int)
    )


def held_reasons(held: Sequence[HeldGpu]) -> Iterator[Reason]:
    for one in held:
        if not one.put_back:
            yield Reason("gpu_not_restored", "note", figures={"gpu": one.gpu})


def health_reasons(deployment: str, health: Mapping[str, GpuHealth], events: Sequence[Event]) -> Iterator[Reason]:
    """Reasons for doubt about the GPUs of one deployment, from its `events`."""

    def reason(code: str, grade: Grade, **figures: float | str) -> Reason:
        return Reason(code, grade, deployment, figures=figures)

    for gpu, found in health.items():
        if found.lost:
            yield reason("gpu_lost", "invalid", gpu=gpu)
        if found.ecc_uncorrected:
            yield reason("gpu_ecc", "invalid", gpu=gpu, count=found.ecc_uncorrected)
        if found.xids:
            grade: Grade = "invalid" if FATAL_XIDS & set(found.xids) else "suspect"
            yield reason("gpu_xid", grade, gpu=gpu, xids=", ".join(map(str, sorted(set(found.xids)))), count=len(found.xids))
        if found.other_processes:
            yield reason("gpu_shared", "suspect", gpu=gpu, count=found.other_processes)
    begun = EXPERIMENTS.keys() | {stage.name for stage in every(events, StageStarted)}
    for event in events:
        if busy := first([event], GpuBusy):
            named = ", ".join(f"{one.pid} ({one.name or '?'})" for one in busy.processes)
            yield Reason("gpu_busy", "suspect", deployment, busy.stage, {"gpu": busy.gpu, "processes": named})
        elif (cooled := first([event], GpuCooled)) and not cooled.reached and cooled.stage in begun:
            yield _warm(deployment, cooled)
    if unwatched := _unwatched(events):
        yield reason("gpu_errors_unwatched", "note", why=unwatched)


def mig_reasons(deployment: str, stages: Sequence[StageResult]) -> Iterator[Reason]:
    """Reasons that say that a run used only a part of a GPU."""
    instances = {uuid for stage in stages for uuid in stage.resources.mig_instances}
    if instances:
        yield Reason("gpu_mig", "note", deployment, figures={"count": len(instances)})


def _warm(deployment: str, cooled: GpuCooled) -> Reason:
    shown = "-" if cooled.temperature_c is None else str(cooled.temperature_c)
    return Reason("gpu_warm", "suspect", deployment, cooled.stage, {"temperature": shown, "asked": str(cooled.asked_c)})


def _unwatched(events: Sequence[Event]) -> str:
    """The reason why no GPU reported its errors; "" if one did, or if there was no GPU."""
    telemetry = first(events, TelemetryFinished)
    watch = telemetry.sources.get("gpu_errors") if telemetry else None
    return watch.last_error if watch and not watch.readings and watch.failures else ""


def clock_reasons(deployment: str, stage: StageResult, held: Sequence[HeldGpu]) -> Iterator[Reason]:
    """A reason for each locked clock that was not kept in a stage. `base` is not a clock frequency and is not checked."""
    for one in held:
        asked, use = one.settings.get("sm_clock_mhz"), stage.resources.gpus.get(one.gpu)
        if isinstance(asked, int) and use and use.sm_clock_mhz and use.sm_clock_mhz.mean < KEPT_RATIO * asked:
            figures: dict[str, float | str] = {"gpu": one.gpu, "mhz": f"{use.sm_clock_mhz.mean:.0f}", "asked": str(asked)}
            yield Reason("gpu_clock_not_kept", "suspect", deployment, stage.span.name, figures)
