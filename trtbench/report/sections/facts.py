"""The sections that say what was asked and on what: target model, test parameters, environment, settings, formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Bullets, Code, Paragraph, Table
from trtbench.report.kit.format import NONE, number, seconds, size, utc, whole
from trtbench.report.kit.grouping import is_many
from trtbench.report.kit.words import Words
from trtbench.report.sections.engine_build import build_text
from trtbench.report.sections.workload import workload_text
from trtbench.rundir.records import Environment
from trtbench.scenario.load.ramp import Ramp
from trtbench.scenario.load.stage import Stage


def target(summary: Summary, words: Words) -> list[Block]:
    """The model, then one column a deployment; many have a section of their own."""
    model = _facts([(words("target.model"), summary.scenario.model)])
    names, columns = _by_deployment(summary, words)
    if is_many(summary) or not names:
        return [model]
    rows = tuple((name, *(column.get(name, NONE) for column in columns)) for name in names)
    header = (words("target.deployment"), *(result.name for result in summary.deployments))
    return [model, Table(header, rows, numeric=False)]


def all_deployments(summary: Summary, words: Words) -> list[Block]:
    """A row each of many, nothing of few."""
    names, columns = _by_deployment(summary, words)
    if not is_many(summary) or not names:
        return []
    rows = tuple((r.name, *(facts.get(name, NONE) for name in names)) for r, facts in zip(summary.deployments, columns, strict=True))
    return [Table((words("target.deployment"), *names), rows, numeric=False)]


def _by_deployment(summary: Summary, words: Words) -> tuple[list[str], list[dict[str, str]]]:
    columns = [_deployment_facts(result, words) for result in summary.deployments]
    return list(dict.fromkeys(name for column in columns for name in column)), columns


def _deployment_facts(result: DeploymentResult, words: Words) -> dict[str, str]:
    facts, found = result.facts, {}
    found[words("target.engine")] = words("target.engine_unknown")
    if facts.engine_sha256:
        values = {"dtype": (facts.dtype or NONE).upper(), "provider": facts.provider or NONE, "size_bytes": size(facts.engine_size_bytes)}
        built = {"build_s": seconds(facts.engine_build_s), "sha": facts.engine_sha256[:12]}
        found[words("target.engine")] = words("target.engine_value", **values, **built)
        if build := build_text(facts.engine, words):
            found[words("target.build")] = build
    if facts.triton_version:
        found[words("target.server")] = words("target.server_value", version=facts.triton_version, ready_s=seconds(result.ready_s))
    if facts.balancer_version or facts.servers > 1:
        before = facts.balancer_version or words("scaling.by_client")
        found[words("target.servers")] = words("target.servers_value", servers=facts.servers, balancer=before)
    if facts.config:
        limits = {"max_batch": whole(facts.max_batch_size), "max_sequences": whole(facts.max_sequences)}
        batching = facts.dynamic_batching
        delay = {"delay_us": whole(batching.get("max_queue_delay_us", 0))} if batching else {}
        found[words("target.batching")] = words("target.batching_value" if batching else "target.batching_off", **limits, **delay)
    if facts.kv_blocks and facts.kv_block_tokens and facts.kv_bytes_per_token:
        total = size(facts.kv_blocks * facts.kv_block_tokens * facts.kv_bytes_per_token)
        shown = {"blocks": whole(facts.kv_blocks), "block_tokens": whole(facts.kv_block_tokens), "total_bytes": total}
        found[words("target.kv")] = words("target.kv_value", dtype=facts.kv_dtype or NONE, **shown)
    if facts.log:
        found[words("target.loaded")] = _loaded(facts.log, words)
    if facts.traits.runs_pytorch:
        found[words("target.backend")] = words("target.pytorch")
    if facts.unanswered:
        found[words("target.unanswered")] = words.listed([f"{call} ({why})" for call, why in facts.unanswered.items()])
    if facts.padded_to_tokens:
        found[words("target.padding")] = words("target.padding_value", tokens=whole(facts.padded_to_tokens))
    return found


def _loaded(log: Mapping[str, Any], words: Words) -> str:
    """What the server said while it loaded, of one rank."""
    sizes = {key: size(log.get(key)) for key in ("engine_bytes", "execution_context_bytes", "kv_bytes", "gpu_available_bytes")}
    counts = {key: whole(log.get(key)) for key in ("kv_tokens", "max_sequences", "max_step_tokens", "max_input_tokens")}
    return words("target.loaded_value", policy=log.get("scheduler_policy", NONE), **sizes, **counts)


def parameters(summary: Summary, words: Words) -> list[Block]:
    scenario, work = summary.scenario, summary.scenario.workload
    stages = [stage for result in summary.deployments for stage in result.stages]
    planned, completed = sum(s.conservation.planned for s in stages), sum(s.conservation.completed for s in stages)
    windows_s = {r.name: sum(s.throughput.window_s for s in r.stages) for r in summary.deployments}
    windows = words.listed([f"{name} {seconds(length_s)}" for name, length_s in windows_s.items()]) or NONE
    if is_many(summary):
        windows = words("parameters.windows", least_s=min(windows_s.values()), most_s=max(windows_s.values()), count=len(windows_s))
    slo = [f"{name.removesuffix('_ms')} ≤ {number(limit)} ms" for name, limit in scenario.slo.model_dump(exclude_none=True).items()]
    streamed = (
        [] if work.streaming or not words.task.streams_tokens else [(words("parameters.streaming"), words("parameters.not_streamed"))]
    )
    purpose = [(words("parameters.purpose"), scenario.purpose)] if scenario.purpose else []
    if asked := scenario.context_limit:
        users = words.listed([str(level) for level in asked.concurrency])
        search = words("parameters.search_value", users=users, output_tokens=asked.output_tokens, confirm=asked.confirm)
        return [_facts([*purpose, (words("parameters.search"), search)])]
    rows = [
        *purpose,
        *_loads(scenario.load, words),
        *([(words("parameters.scaling"), words(f"scaling.load_{scenario.scaling.load}"))] if scenario.scaling else []),
        (words("parameters.duration"), words("parameters.duration_value", wall_s=summary.wall_s, windows=windows)),
        (words("parameters.data"), workload_text(work, words)),
        *streamed,
        (words("parameters.requests"), words("parameters.requests_value", planned=planned, completed=completed)),
        (words("parameters.slo"), words.listed(slo) or words("parameters.none")),
    ]
    return [_facts(rows)]


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


def environment(summary: Summary, words: Words) -> list[Block]:
    e = summary.environment
    gpus = words.listed([str(gpu.get("name", gpu)) for gpu in e.gpus])
    rows = [
        (words("environment.cpu"), words("environment.cpu_value", model=e.cpu_model, count=e.cpu_count)),
        (words("environment.memory"), _memory(e, words)),
        (words("environment.gpu"), f"{gpus} ({e.nvml})" if gpus else e.nvml),
        (words("environment.platform"), e.platform),
        (words("environment.python"), e.python),
        (words("environment.packages"), words.listed([f"{name} {version}" for name, version in e.packages.items()]) or NONE),
        (words("environment.variables"), words.listed([f"{name}={value}" for name, value in e.variables.items()]) or NONE),
        (words("environment.started"), utc(e.started_utc)),
        (words("environment.command"), summary.command or NONE),
    ]
    return [_facts(rows)]


def _memory(found: Environment, words: Words) -> str:
    limit_bytes = found.memory_limit_bytes
    if limit_bytes is None or limit_bytes >= found.memory_bytes:
        return size(found.memory_bytes)
    return words("environment.memory_limited", memory_bytes=found.memory_bytes, limit_bytes=limit_bytes)


def formulas(words: Words) -> list[Block]:
    """The formula of each metric that the task has; metrics that share one are in one row."""
    rows = tuple((", ".join(names), words(f"formula.{key}")) for key, names in metrics_by_formula(words).items())
    return [Table((words("col.metric"), words("col.formula")), rows, numeric=False)]


def metrics_by_formula(words: Words) -> dict[str, list[str]]:
    """Names of metrics by the key of their formula, in the order of the texts."""
    names: dict[str, list[str]] = {key: [] for key in words.keys("formula")}
    known = {metric.name: metric.formula for metric in METRICS if metric.formula}
    for name in words.task.shown("formula", known):
        names[known[name]].append(name)
    return {key: named for key, named in names.items() if named}


def settings(summary: Summary, words: Words) -> list[Block]:
    flags = [f"{r.name}: {' '.join(r.facts.server_flags)}" for r in summary.deployments if r.facts.server_flags]
    server: list[Block] = [Paragraph(words("target.server")), Bullets(tuple(flags))] if flags else []
    return [Code(summary.scenario.dump()), *server]


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    return Table(("", ""), tuple(rows), numeric=False)
