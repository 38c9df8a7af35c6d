"""What was requested: the load, the requests with their source, and the SLO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from trtbench.analysis.request_data import RequestData
from trtbench.analysis.summary import Summary
from trtbench.experiments.registry import roles
from trtbench.report.kit.blocks import Block, Table, pairs
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, number, percent, seconds, whole
from trtbench.report.kit.grouping import is_many
from trtbench.report.kit.words import Words
from trtbench.scenario.load.stage import Ramp, Stage
from trtbench.scenario.workload.lengths import Lengths, Range
from trtbench.scenario.workload.request_kind import RequestKind
from trtbench.scenario.workload.tensors import Tensors
from trtbench.scenario.workload.workload import Workload
from trtbench.system.foreign_text import shown


def parameters(summary: Summary, words: Words) -> list[Block]:
    scenario, work = summary.scenario, summary.scenario.workload
    stages = [stage for result in summary.deployments for stage in result.stages]
    planned, completed = sum(s.conservation.planned for s in stages), sum(s.conservation.completed for s in stages)
    windows_s = {r.name: sum(s.throughput.window_s for s in r.stages) for r in summary.deployments}
    windows = words.listed([f"{name} {seconds(length_s)}" for name, length_s in windows_s.items()]) or NONE
    if is_many(summary):
        windows = words("parameters.windows", least_s=min(windows_s.values()), most_s=max(windows_s.values()), count=len(windows_s))
    slo = [f"{name} ≤ {number(limit)} ms" for name, limit in scenario.slo.limits_ms.items()]
    streamed = (
        [] if work.streaming or not words.task.streams_tokens else [(words("parameters.streaming"), words("parameters.not_streamed"))]
    )
    purpose = [(words("parameters.purpose"), scenario.purpose)] if scenario.purpose else []
    rows = [
        *purpose,
        *_loads(scenario.load, words),
        *(row for role in roles(ExperimentReport) for row in role.parameters(summary, words)),
    ]
    if not scenario.load:
        return [pairs(rows)]
    rows += [
        (words("parameters.duration"), words("parameters.duration_value", wall_s=summary.wall_s, windows=windows)),
        (words("parameters.data"), workload_text(work, words)),
        *streamed,
        (words("parameters.requests"), words("parameters.requests_value", planned=planned, completed=completed)),
        (words("parameters.slo"), words.listed(slo) or words("parameters.none")),
    ]
    return [pairs(rows)]


def _loads(stages: Sequence[Stage], words: Words) -> list[tuple[str, str]]:
    users = words.listed([_users(stage, words) for stage in stages if stage.mode == "concurrency"])
    rates = words.listed([_rate(stage, words) for stage in stages if stage.mode != "concurrency"])
    rows = [(words("parameters.users"), users), (words("parameters.rates"), rates)]
    return [row for row in rows if row[1]]


def _users(stage: Stage, words: Words) -> str:
    users = _level(stage.concurrency, words)
    return words("parameters.thinking", users=users, pause_s=stage.think_s.mean) if stage.think_s and stage.think_s.mean else users


def _rate(stage: Stage, words: Words) -> str:
    if stage.trace:
        return words("mode.trace_of", trace=words("mode.trace_at", speed=f"{stage.speed:g}"), file=stage.trace.name)
    rate = words("mode.rate", rate=_level(stage.rate, words), mode=words(f"mode.{stage.mode}"))
    return words("mode.on_off", rate=rate, on_s=stage.on_s, off_s=stage.off_s) if stage.on_s and stage.off_s else rate


def _level(level: Ramp | float | None, words: Words) -> str:
    if isinstance(level, Ramp):
        return words("mode.ramp", first=f"{level.first:g}", last=f"{level.to:g}")
    return NONE if level is None else f"{level:g}"


def workload_text(work: Workload, words: Words) -> str:
    if words.task.sends_tensors:
        return words("workload.separator").join([_tensors(work.tensors, words), *_sessions_and_cancelled(work, words)])
    kinds = [
        words("workload.component", name=name, share_ratio=share, kind=_kind(kind, words)) if name else _kind(kind, words)
        for (name, kind), share in zip(work.kinds.items(), work.kind_shares, strict=True)
    ]
    parts = [
        *kinds,
        *([words("workload.exact")] if words.task.draws_output_tokens and work.ignore_eos else []),
        *([words("workload.repeated", share_ratio=work.duplicate_ratio)] if work.duplicate_ratio else []),
        words("workload.languages", languages=words.listed(list(work.languages))),
        *([_sampling(work.sampling.temperature, words)] if words.task.draws_output_tokens else []),
    ]
    return words("workload.separator").join(parts)


def _sampling(temperature: float, words: Words) -> str:
    return words("workload.greedy") if temperature == 0 else words("workload.sampled", temperature=temperature)


def _kind(kind: RequestKind, words: Words) -> str:
    parts = [words("workload.lengths", input=_tokens(kind.input_tokens, words), output=_tokens(kind.output_tokens, words))]
    if kind.dataset:
        parts = [words("workload.dataset", file=kind.dataset.path.name)]
    if kind.prefix:
        figures = {"groups": kind.prefix.groups, "tokens": kind.prefix.tokens, "share_ratio": kind.prefix.share_ratio}
        parts.append(words("workload.prefix", **figures))
    return words.listed([*parts, *_sessions_and_cancelled(kind, words)])


def _sessions_and_cancelled(kind: RequestKind, words: Words) -> Iterator[str]:
    if kind.sessions:
        turns = kind.sessions.turns
        yield words("workload.sessions", turns=_tokens(turns, words)) if turns else words("workload.conversations")
    if kind.cancel:
        yield words("workload.cancel", share_ratio=kind.cancel.ratio)


def _tensors(tensors: Tensors, words: Words) -> str:
    """The source of the values, the number of items in a request, and the shapes that were given."""
    is_path = isinstance(tensors.data, PurePath)
    data = words("workload.tensors_of", file=PurePath(tensors.data).name) if is_path else words(f"workload.tensors_{tensors.data}")
    items = words("workload.items", items=tensors.batch_size)
    shapes = [f"{shown(name, 80)} {'×'.join(map(str, shape))}" for name, shape in tensors.shapes.items()]
    return words.listed([data, items, *shapes])


def _tokens(lengths: Lengths, words: Words) -> str:
    """A number, the bounds of a uniform distribution, or the bounds and the mean of another distribution."""
    if lengths.min == lengths.max:
        return str(lengths.min)
    bounds = f"{lengths.min}–{lengths.max}"
    return bounds if isinstance(lengths, Range) else words("workload.law", bounds=bounds, mean=f"{lengths.expected:.0f}")


def request_data_tables(summary: Summary, words: Words) -> list[Block]:
    """A table of the files that contain the requests; empty without such a file."""
    rows = [row for one in summary.request_data for row in _data_rows(one)]
    if not rows:
        return []
    header = words.header("data_file", "data_rows", "left_out", "left_out_ratio", "left_out_why", "left_out_first")
    return [Table(header, tuple(rows), words("request_data.caption"), words("request_data.note"), numeric=False)]


def _data_rows(one: RequestData) -> list[tuple[str, ...]]:
    name = PurePath(one.path).name
    if not one.reasons:
        return [(name, whole(one.rows), whole(0), percent(0.0), NONE, NONE)]
    return [
        (
            name,
            whole(one.rows),
            whole(reason.rows),
            percent(reason.rows / one.rows if one.rows else 0.0),
            reason.reason,
            ", ".join(PurePath(place).name for place in reason.first) or NONE,
        )
        for reason in one.reasons
    ]
