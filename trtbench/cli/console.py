"""Progress of a run on standard error: a permanent line for each completed step, and one live line for the current step."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trtbench.rundir.event_kinds import (
    AttemptSetAside,
    BuildStepStarted,
    DeploymentFinished,
    DeploymentSkipped,
    EngineBuilt,
    EventData,
    Interrupted,
    LoadStopped,
    PlanDrawn,
    RunResumed,
    RunStarted,
    ServerFault,
    ServerLost,
    ServerReady,
    ServerStarting,
    StageFinished,
    StageStarted,
)
from trtbench.rundir.events import content
from trtbench.rundir.experiment_events import RaceDecided, ReloadFinished
from trtbench.rundir.gpu_events import GpuBallast, GpuBusy, GpuCooled, GpuLocked, GpuNotRestored, GpuRestored, GpuSetting
from trtbench.rundir.records import Event
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.foreign_text import harmless, shown

if TYPE_CHECKING:
    from trtbench.load.tally import LoadProgress  # imports NumPy and tokenizers, which `trtbench gpu` does not need

_PLAIN_INTERVAL_S = 10.0
_REFRESH_PER_S = 4
_BAR_CHARACTERS = 12


class Console:
    """A listener of run events and a context manager.

    On a terminal the live line is redrawn in place; elsewhere it is printed every 10 s. `quiet` shows faults only.
    """

    def __init__(self, progress: LoadProgress, quiet: bool = False) -> None:
        self._out = RichConsole(stderr=True, highlight=False)
        self._progress = progress
        self._quiet = quiet
        self._activity = ""
        self._since_ns = now_ns()
        self._loading = False
        self._live = Live(console=self._out, get_renderable=self._render, refresh_per_second=_REFRESH_PER_S, transient=True)
        self._ended = threading.Event()
        self._printer = threading.Thread(target=self._print_plain, name="console", daemon=True)

    def __enter__(self) -> Console:
        if not self._quiet:
            if self._out.is_terminal:
                self._live.start()
            else:
                self._printer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._begin("")
        self._ended.set()
        if self._live.is_started:
            self._live.stop()
        if self._printer.is_alive():
            self._printer.join()

    def __call__(self, event: Event) -> None:
        data = content(event)
        line = _line(event.deployment, data)
        if line and (not self._quiet or isinstance(data, _FAULTS)):
            self._out.print(Text(harmless(line)), soft_wrap=True)
        if isinstance(data, BuildStepStarted):
            self._begin(f"{data.dtype}: {data.step}")
        elif isinstance(data, ServerStarting):
            self._begin(f"{event.deployment}: starting the server")
        elif isinstance(data, (ServerReady, StageStarted)):
            self._begin(event.deployment, loading=True)
        elif isinstance(data, _ENDINGS):
            self._begin("")

    def _begin(self, activity: str, loading: bool = False) -> None:
        self._activity, self._loading, self._since_ns = activity, loading, now_ns()

    def _render(self) -> RenderableType:
        line = Text(harmless(self._live_line()), no_wrap=True, overflow="ellipsis")
        if not self._shows_load():
            return line
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(1.0, load_share(self._progress, now_ns()), _BAR_CHARACTERS), line)
        return row

    def _shows_load(self) -> bool:
        return bool(self._activity and self._loading and self._progress.stage)

    def _live_line(self) -> str:
        if not self._activity:
            return ""
        if self._shows_load():
            return f"{self._activity} {load_line(self._progress, now_ns())}"
        return f"{self._activity} ... {(now_ns() - self._since_ns) / NS_PER_S:.0f} s"

    def _print_plain(self) -> None:
        while not self._ended.wait(_PLAIN_INTERVAL_S):
            if line := self._live_line():
                self._out.print(Text(harmless(line)), soft_wrap=True)


def load_share(progress: LoadProgress, instant_ns: int) -> float:
    """The share of the current phase that is over, by its time or by its requests, from 0 to 1."""
    counts = progress.counts
    if progress.ends_ns is not None:
        left_ns = progress.ends_ns - instant_ns
        return (instant_ns - progress.starts_ns) / (progress.ends_ns - progress.starts_ns) if left_ns > 0 else 1.0
    return (counts.completed + counts.failed) / progress.planned if progress.planned else 0.0


def load_line(progress: LoadProgress, instant_ns: int) -> str:
    """The live line: share, requests, remaining time and rate of the current phase."""
    elapsed_s = (instant_ns - progress.starts_ns) / NS_PER_S
    counts = progress.counts
    done = counts.completed + counts.failed
    share = load_share(progress, instant_ns)
    if progress.ends_ns is not None:
        left_s = (progress.ends_ns - instant_ns) / NS_PER_S
        left = f"{left_s:.0f} s left" if left_s > 0 else "draining"
    else:
        left = f"about {elapsed_s / share - elapsed_s:.0f} s left" if share else "no estimate yet"
    of = f"/{progress.planned}" if progress.planned is not None else ""
    embeds = counts.completed and not counts.output_tokens  # the responses of an encoder have no tokens
    rate = (done if embeds else counts.output_tokens) / elapsed_s if elapsed_s > 0 else 0.0
    return (
        f"{progress.stage}{' warm-up' if progress.warmup else ''} {share:.0%}, {done}{of}, {left}, "
        f"{counts.in_flight} in flight, {counts.failed} failed, {rate:.0f} {'requests' if embeds else 'tokens'}/s"
    )


_ENDINGS = (EngineBuilt, StageFinished, LoadStopped, DeploymentFinished)
_FAULTS = (ServerLost, ServerFault, Interrupted, LoadStopped, DeploymentSkipped, GpuNotRestored, GpuBusy)


def _line(deployment: str, data: EventData | None) -> str:
    """The permanent line of an event, or an empty text for an event without one."""
    match data:
        case RunStarted() | RunResumed():
            return f"Run directory {data.path}"
        case RaceDecided() if data.stopped:
            return f"{data.dtype}, round {data.round}: no more of {', '.join(data.stopped)}; {len(data.racing)} cells continue"
        case AttemptSetAside():
            return f"{deployment}: is run again; earlier results are kept in {data.to}"
        case EngineBuilt():
            how = "from the cache" if data.cached else f"built in {sum(step.seconds for step in data.steps):.0f} s"
            return f"Engine {data.dtype}: {data.size_bytes / 2**20:.0f} MiB, {how}, hash {data.sha256[:12]}"
        case PlanDrawn():
            return "\n".join(data.notes)
        case ServerReady(seconds=float() | int() as seconds):
            return f"{deployment}: server ready after {seconds:.1f} s, {f'gRPC {data.grpc}' if data.grpc else f'HTTP {data.http}'}"
        case StageFinished():
            return f"{deployment} {data.name}: {data.planned} requests in {(data.end_ns - data.start_ns) / NS_PER_S:.1f} s"
        case ReloadFinished():
            return f"{deployment}: {_reload(data)}"
        case ServerLost():
            return f"{deployment}: the server is lost. {data.cause}"
        case ServerFault():
            return f"{deployment}: a fault on the server, which continues to run. {data.cause}"
        case Interrupted():
            waits = "waiting for requests in flight; a second interrupt stops immediately"
            return f"Interrupted: {'stopping now' if data.level > 1 else waits}"
        case LoadStopped():
            return f"{deployment}: load ended early ({data.why}) in stage {data.stage}"
        case DeploymentSkipped():
            return f"{deployment}: not run ({data.reason})"
    return gpu_line(data)


def _reload(data: ReloadFinished) -> str:
    said = f" ({shown(data.error, 100)})" if data.error else ""
    how = "did not load" if not data.ok else "loaded, but did not end as requested" if said else "loaded"
    return f"reload {data.number}, {data.reload}: {how}{said} after {data.seconds:.1f} s"


def gpu_line(data: EventData | None) -> str:
    """The line of an event of GPUs, or an empty text for any other event."""
    match data:
        case GpuLocked():
            return f"GPU {data.gpu}: set {_settings(data.settings)}"
        case GpuRestored():
            left = f", left by process {data.left_by}" if data.left_by else ""
            return f"GPU {data.gpu}: restored {_settings(data.settings)}{left}"
        case GpuNotRestored():
            return f"GPU {data.gpu} could not be restored: {data.cause}. `trtbench gpu restore` tries again"
        case GpuBallast():
            return f"GPU {data.gpu}: {data.held_bytes / 2**30:.2f} GiB held, {data.free_bytes / 2**30:.2f} GiB left"
        case GpuCooled(temperature_c=None):
            return f"{data.stage}: no GPU reports its temperature, so there was no wait"
        case GpuCooled():
            warm = "" if data.reached else ", still warm"
            return f"{data.stage}: GPUs at {data.temperature_c} \u00b0C after {data.waited_s:.0f} s{warm}"
        case GpuBusy():
            return f"{data.gpu} is also used by other processes: {', '.join(f'{one.pid} ({one.name})' for one in data.processes)}"
    return ""


def _settings(settings: Mapping[str, GpuSetting]) -> str:
    return ", ".join(f"{name} {'default' if value is None else value}" for name, value in settings.items())
