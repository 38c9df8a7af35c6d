"""The output of `--dry-run`: what a run would do, before anything is built or sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console as RichConsole
from rich.table import Table

from trtbench.cli.flags.explained import named_by_keys
from trtbench.engine.build import check_spec, provider_of
from trtbench.engine.spec import EngineProvider, EngineSpec
from trtbench.experiments.registry import roles
from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.trace import load_trace
from trtbench.run.resolve.deployment_checks import doubts
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.run.resolve.preview import MemoryNeed, Preview, StagePreview, build_needs, preview
from trtbench.run.resolve.resolved import resolve
from trtbench.run.resolve.resolved_endpoint import ResolvedEndpoint, resolve_endpoint
from trtbench.scenario.scenario import Scenario
from trtbench.system.foreign_text import harmless, shown
from trtbench.tasks.registry import TASKS


def dry_run(scenario: Scenario) -> None:
    """Print what `serve-and-bench` would do. UserError for whatever a run would refuse before it builds, or asks an endpoint."""
    if scenario.endpoint is None:
        _dry_serving(scenario)
        return
    with named_by_keys():
        dry_bench(resolve_endpoint(scenario))


def _dry_serving(scenario: Scenario) -> None:
    resolved = resolve(scenario)
    scenario, provider, plan = resolved.scenario, resolved.provider, resolved.preview
    experiments = tuple(roles(ExperimentPreparation))
    print(harmless(f"{scenario.name}: {scenario.purpose}"))
    print(harmless(f"model {scenario.model}, provider {provider.name}; runs: {', '.join(plan.runs)}"))
    made = (line for experiment in experiments for line in experiment.preview_deployments(scenario))
    for line in (*made, *_engines(resolved.distinct_specs), *_servers(scenario), *_gpus(scenario)):
        print(line)
    out = RichConsole(highlight=False, width=None if sys.stdout.isatty() else 120)
    _memory(resolved.memory, out)
    _refused(resolved.distinct_specs, provider)
    if in_place := preview_in_place_of_load(scenario):
        print(in_place)
        out.print(_kv(plan))
        return
    out.print(_stages(plan.stages, "Load of the first point" if plan.loads else "Load, on each of the runs"))
    for cell, stages in plan.loads.items():
        out.print(_stages(stages, f"Load of {cell}"))
    for line in input_lines(scenario):
        print(harmless(line))
    print(_size(plan))
    if plan.kv:
        out.print(_kv(plan))
    for name, deployment in scenario.deployments.items():
        for doubt in doubts(deployment, provider.traits, len(os.sched_getaffinity(0))):
            print(f"{name}: {doubt}")
    for label, ratio in plan.prefix_hit_ratios.items():
        print(f"{label}: an ideal prefix cache finds {ratio:.1%} of the input tokens")
    for line in filter(None, (experiment.preview_companion(scenario) for experiment in experiments)):
        print(line)
    print(f"{about(plan.duration_s, any(stage.estimated for stage in plan.stages))} of load in all, builds and server starts not counted")
    if any(stage.estimated for stage in plan.stages):
        work = scenario.workload
        assumed = TASKS[scenario.task].assumed_rate(work.expected_input_tokens, work.expected_output_tokens)
        print(f"~ assumes {assumed} in all, the demo on one CPU core")


def preview_in_place_of_load(scenario: Scenario) -> str | None:
    """A line about the load that an experiment sends instead of the plan's, or None if the run sends the plan's load."""
    return next(filter(None, (experiment.preview_in_place_of_load(scenario) for experiment in roles(ExperimentPreparation))), None)


def dry_bench(endpoint: ResolvedEndpoint) -> None:
    """Print what would be sent to a running endpoint. The server is not contacted."""
    scenario = endpoint.scenario.expanded()
    plan = preview(scenario, {})
    addresses = ", ".join(endpoint.addresses)
    print(harmless(f"model {shown(scenario.model)} by {endpoint.endpoint.type} at {addresses}, which is not asked yet"))
    for line in (line for experiment in roles(ExperimentPreparation) for line in experiment.preview_deployments(scenario)):
        print(line)
    if in_place := preview_in_place_of_load(scenario):
        print(in_place)
        return
    RichConsole(highlight=False, width=None if sys.stdout.isatty() else 120).print(_stages(plan.stages, "Load"))
    print(_size(plan))
    for line in input_lines(scenario):
        print(harmless(line))
    estimated = any(stage.estimated for stage in plan.stages)
    print(f"{about(plan.duration_s, estimated)} of load in all")
    if estimated:
        print("~ assumes the demo on one CPU core")


def dry_build(spec: EngineSpec) -> None:
    """Print what `trtbench build` would do. EngineError for whatever it would refuse on any machine."""
    provider = provider_of(spec)
    check_spec(spec, provider)
    print(harmless(f"model {spec.model}, {spec.dtype} by provider {provider.name}"))
    needs = tuple(build_needs(spec.dtype, provider.forecast(spec)))
    _memory(needs, RichConsole(highlight=False, width=None if sys.stdout.isatty() else 120))
    _refused([spec], provider)


def _memory(needs: Sequence[MemoryNeed], out: RichConsole) -> None:
    if not needs:
        return
    table = Table("a rank of", "weights", "KV KiB a token", "KV tokens", "needed", "free", "missing", title="GPU memory, GiB")
    for one in needs:
        sizes = (one.needed_bytes, one.free_bytes, one.missing_bytes)
        kib = "-" if one.kv_bytes_per_token is None else f"{one.kv_bytes_per_token / 1024:g}"
        table.add_row(one.what, _gib(one.weights_bytes), kib, _known(one.kv_tokens), *map(_gib, sizes))
    out.print(table)
    print("needed: an upper bound to build, a lower bound to serve (only weights and KV cache; of a share of the free memory, one request)")


def _refused(specs: Sequence[EngineSpec], provider: EngineProvider) -> None:
    short = {spec.dtype: why for spec in specs if (why := provider.shortage(spec))}
    for dtype, why in short.items():
        print(f"{dtype} would be refused, unless the engine is built already: {why}")


def _gib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 2**30:.1f}"


def _engines(specs: Sequence[EngineSpec]) -> Iterator[str]:
    """The engines that TensorRT-LLM would build for the scheduler's limits."""
    limits = [(spec.dtype, spec.build.max_batch_size, spec.build.max_num_tokens) for spec in specs]
    if all(batch and tokens for _, batch, tokens in limits):
        limits_text = "; ".join(f"{dtype} for {batch} sequences, {tokens} tokens a step" for dtype, batch, tokens in limits)
        yield f"engines to build, or found in the cache: {len(specs)}: {limits_text}"


def _servers(scenario: Scenario) -> Iterator[str]:
    """Lines about the deployments that consist of more than one server."""
    for name, deployment in scenario.deployments.items():
        replicas = deployment.replicas
        if replicas.count > 1 or replicas.balancer != "client":
            on = f" on GPUs {', '.join(map(str, replicas.gpus))}" if replicas.gpus else ""
            yield f"{name}: {replicas.count} Triton server(s){on}, requests spread by {replicas.balancer} ({replicas.algorithm})"


def _gpus(scenario: Scenario) -> Iterator[str]:
    if scenario.gpu:
        held = scenario.gpu.model_dump(mode="json", exclude_defaults=True)
        settings = ", ".join(f"{key}: {value}" for key, value in held.items()) or "no settings; they must be idle"
        yield f"gpu, held during the run and restored: {settings}"


def input_lines(scenario: Scenario) -> Iterator[str]:
    """Lines about the way in which data sets and traces are read, and about their rows that are left out.

    UserError for a file that cannot be read.
    """
    datasets = dict.fromkeys(kind.dataset for kind in scenario.workload.kinds.values() if kind.dataset)
    files = [read_dataset(one.path, one.format).left_out for one in datasets]
    traces = dict.fromkeys((one.trace, one.trace_block_tokens, one.trace_format) for one in scenario.load if one.trace)
    files += [load_trace(*one)[1] for one in traces]
    yield from (line for file in files for line in (file.reading, file.text) if line)


def _stages(stages: Sequence[StagePreview], title: str) -> Table:
    table = Table("stage", "mode", "level", "warm-up", "requests", "duration", title=title)
    for stage in stages:
        unit = "users" if stage.mode == "concurrency" else "requests/s"
        requests = "until time is up" if stage.requests is None else str(stage.requests)
        duration = about(stage.duration_s, stage.estimated)
        table.add_row(stage.label, stage.mode, f"{stage.level:g} {unit}", str(stage.warmup_requests), requests, duration)
    return table


def _kv(plan: Preview) -> Table:
    table = Table("deployment", "blocks", "MiB", "blocks a request", "requests at once", "scheduler's sequences", title="KV cache")
    for kv in plan.kv:
        table.add_row(
            kv.deployment,
            _known(kv.blocks),
            _known(kv.bytes and kv.bytes >> 20),
            str(kv.blocks_per_request),
            _known(kv.concurrent_requests),
            str(kv.max_sequences),
        )
    return table


def _size(plan: Preview) -> str:
    size = plan.size
    return (
        f"plan: {size.requests:,} requests of {size.prompts:,} prompts with about {size.prompt_tokens:,} tokens, warm-ups included; about "
        f"{_mib(size.memory_bytes)} MiB in memory of each process that has it, {_mib(size.disk_bytes)} MiB on disk for each of the runs"
    )


def _mib(size_bytes: int) -> str:
    return f"{max(1, round(size_bytes / 2**20)):,}"


def _known(value: int | None) -> str:
    return "-" if value is None else str(value)


def about(seconds: float, estimated: bool) -> str:
    """A duration in words of its size; ~ before an estimate."""
    text = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    return f"~{text}" if estimated else text
