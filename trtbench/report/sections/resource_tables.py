"""Resource use of processes, machine and GPUs, and the GPU settings that were held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.metrics import GPU_METRICS, METRICS
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.gpu_health import HeldGpu
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.columns import Cell, columns_of, stage_table
from trtbench.report.kit.format import NONE, percent, size
from trtbench.report.kit.words import Words


def resource_tables(summary: Summary, words: Words) -> list[Block]:
    columns = columns_of("resources", METRICS, words.task)
    gpu_columns = columns_of("gpu", GPU_METRICS, words.task)
    blocks: list[Block] = []
    for result in summary.deployments:
        used = stage_table(columns, result.stages, words, words("resources.caption", deployment=result.name))
        blocks += [used] if any(set(row[1:]) != {NONE} for row in used.rows) else []
        rows = _gpu_rows(result, gpu_columns)
        blocks += [_gpu_table(gpu_columns, rows, words("resources.gpu", deployment=result.name), words)] if rows else []
    return blocks


def gpu_blocks(summary: Summary, words: Words) -> list[Block]:
    """GPU settings that were held, then memory, energy and traffic of GPUs and MIG instances if they were measured."""
    columns = {**columns_of("gpu_more", GPU_METRICS, words.task), "gpu_throttled": lambda gpu: _throttled(gpu, words)}
    blocks: list[Block] = []
    if summary.held_gpus:
        header = words.header("gpu_index", "gpu_held", "gpu_before", "gpu_ballast", "gpu_put_back")
        blocks.append(Table(header, tuple(_held(one, words) for one in summary.held_gpus), words("resources.gpu_held"), numeric=False))
    for result in summary.deployments:
        rows = _gpu_rows(result, columns)
        if any(set(row[2:]) != {NONE} for row in rows):
            blocks.append(_gpu_table(columns, rows, words("resources.gpu_more", deployment=result.name), words))
        blocks += _mig_table(result, words)
        if result.not_told:
            blocks.append(Paragraph(words("resources.not_told", deployment=result.name, series="; ".join(result.not_told))))
    return blocks


def cost_tables(summary: Summary, words: Words) -> list[Block]:
    """Energy and price of output tokens, of the deployments that have either; [] without power readings and a price."""
    columns = columns_of("cost", METRICS, words.task)
    priced = [result for result in summary.deployments if any(stage.token_cost for stage in result.stages)] if columns else []
    return [stage_table(columns, result.stages, words, words("resources.cost", deployment=result.name)) for result in priced]


def _gpu_rows(result: DeploymentResult, columns: Mapping[str, Cell[GpuUse]]) -> tuple[tuple[str, ...], ...]:
    gpus = ((stage.span.name, label, gpu) for stage in result.stages for label, gpu in stage.resources.gpus.items())
    return tuple((stage, label, *(cell(gpu) for cell in columns.values())) for stage, label, gpu in gpus)


def _gpu_table(columns: Iterable[str], rows: tuple[tuple[str, ...], ...], caption: str, words: Words) -> Table:
    return Table(words.header("stage", "gpu_index", *columns), rows, caption)


def _mig_table(result: DeploymentResult, words: Words) -> list[Block]:
    instances = [(stage.span.name, uuid, one) for stage in result.stages for uuid, one in stage.resources.mig_instances.items()]
    if not instances:
        return []
    rows = tuple((stage, uuid, size(one.memory_used_bytes.max), size(one.memory_bytes)) for stage, uuid, one in instances)
    header = words.header("stage", "mig_instance", "gpu_memory", "mig_memory")
    return [Table(header, rows, words("resources.mig", deployment=result.name), labels=2)]


def _held(one: HeldGpu, words: Words) -> tuple[str, ...]:
    ballast = NONE if one.ballast_bytes is None else size(one.ballast_bytes)
    back = words("resources.put_back" if one.put_back else "resources.not_put_back")
    return one.gpu, _settings(one.settings, words) or NONE, _settings(one.previous, words) or NONE, ballast, back


def _settings(settings: Mapping[str, Any], words: Words) -> str:
    return words.listed([f"{kind} {words('resources.not_known') if value is None else value}" for kind, value in settings.items()])


def _throttled(gpu: GpuUse, words: Words) -> str:
    return words.listed([f"{words(f'resources.throttle_{why}')} {percent(ratio)}" for why, ratio in gpu.throttle_ratios.items()]) or NONE
