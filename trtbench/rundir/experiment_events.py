"""The kinds of events of experiments: the search for a context limit, reloads of the model, the search over a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trtbench.rundir.event_kinds import Count, EventData, Number, Whole
from trtbench.system.memory import Memory, MemoryBound, OomKill

ReloadKind = Literal["new_version", "changed_config", "unload_load", "broken", "blue_green"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSearchStarted(EventData):
    output_tokens: Count
    max_positions: Count
    longest_prompt_tokens: Count | None = None
    block_tokens: Count
    longest_tokens: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTrial(EventData):
    """`users` prompts of `input_tokens` were sent at once. `stage`: the label of their records. `stop` ends the search after this trial.

    `healthy`: whether a one-token request was served after a failure. `blocks_left`: KV blocks then in use minus those before the trial;
    None if unknown. `oom_kill`: whether the kernel killed one of the run's processes because memory ran out. `memory`: the limit that was
    exceeded, if that ended the trial. `log_says`: what ran out according to `log_line`, the first such line that a server wrote in a failed
    trial.
    """

    users: Count
    input_tokens: Count
    phase: str
    stage: str
    passed: bool
    start_ns: Whole
    end_ns: Whole
    stop: str | None
    healthy: bool | None
    blocks_left: Whole | None
    oom_kill: OomKill | None = None
    memory: MemoryBound | None = None
    log_says: Memory | Literal["kv_cache"] | None = None
    log_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLimitFound(EventData):
    users: Count = 1
    passed_tokens: Count | None = None
    failed_tokens: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSearchFinished(EventData):
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadStarted(EventData):
    reload: ReloadKind
    number: Whole
    repeat: Whole = 1
    to: str | None = None
    breaks: str | None = None
    warmup: bool = False
    control: str = "explicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadFinished(EventData):
    """A reload ended. Seconds are None for steps that this kind of reload does not have. `version`: the new one, None if it keeps its
    number.
    """

    reload: ReloadKind = "new_version"
    number: Whole
    repeat: Whole = 1
    to: str | None = None
    breaks: str | None = None
    warmup: bool = False
    control: str = "explicit"
    load_s: Number | None = None
    loaded_s: Number | None = None
    restored_s: Number | None = None
    unload_s: Number | None = None
    switched_s: Number | None = None
    drain_s: Number | None = None
    version: str | None = None
    ok: bool = False
    error: str = ""
    seconds: Number = 0
    versions_before: Mapping[str, str] | None = None
    versions_after: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersions(EventData):
    """The state of each version in the server's index, written when it changes."""

    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The leader's figure minus the cell's, over the rounds: mean, half width of the 95 % interval, number of rounds."""

    mean: Number
    half_width: Number | None
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDropped:
    """The reason why a cell of a grid is not run again `after_round`."""

    cell: str
    after_round: Count
    why: Literal["below", "slo", "no_figure"]
    leader: str | None = None
    difference: Difference | None = None
    within_slo_ratio: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceDecided(EventData):
    """The state of a search over a grid after a round: the cells that were dropped, by stage, and those that continue."""

    dtype: str
    round: Count = 0
    drops: Mapping[str, Sequence[CellDropped]]
    stopped: Sequence[str] = ()
    racing: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWidth:
    """The figure of `repeats.until` in one stage, over the rounds so far. `relative_width`: the width of its 95 % interval, as a share of
    its mean; None if a round has no such figure, or the mean is 0.
    """

    deployment: str
    stage: str
    mean: Number | None
    relative_width: Number | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsDecided(EventData):
    """Whether the rounds of a repeated load end after `round`, because the figure is known well enough in every stage."""

    round: Count
    metric: str
    bound: Number
    widths: Sequence[StageWidth]
    stopped: bool


@dataclass(frozen=True, slots=True)
class ImportedFigure:
    """A figure under the name that the other tool gives it."""

    name: str
    value: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsImported(EventData):
    """The report of another tool, of which this run directory was made. `facts` are what it says of engine and machine, `lacks` what
    neither it nor this directory holds.
    """

    tool: str
    file: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[ImportedFigure] = ()
    lacks: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySearchStarted(EventData):
    """The search for the highest load that keeps the SLO begins. `slo`: its clauses as text, as ttft:500,p99."""

    by: Literal["concurrency", "rate"]
    slo: Sequence[str]
    start: Number
    least: Number
    most: Number
    resolution: Number
    probes: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedClause:
    """The evidence of a probe for one clause: how many of the requests broke its limit. `dispersion`: the number of requests
    that are worth one independent request. `verdict` is holds or breaks, None if neither was certain.
    """

    clause: str
    requests: Count
    broken: Count
    dispersion: Number
    verdict: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProbe(EventData):
    """One probe at `level`, in the stage of this name. `broken_by`: the clauses that broke, the worst first, or backlog.
    `jointly_broken`: requests that broke any limit. `doubts`: codes of reasons for which an unusable probe says nothing of the server.
    """

    stage: str
    level: Number
    phase: Literal["bracket", "bisect", "confirm"]
    verdict: Literal["holds", "breaks", "undecided", "unusable"]
    clauses: Sequence[ProbedClause]
    jointly_broken: Count = 0
    broken_by: Sequence[str] = ()
    doubts: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySearchFinished(EventData):
    """`ended` is done, interrupted, server_lost or error_bound."""

    ended: str
