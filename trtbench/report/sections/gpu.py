"""What was held of the GPUs and whether it was put back; and what they told beyond use, power and clocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.gpu_health import HeldGpu
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.format import NONE, percent, size, whole
from trtbench.report.kit.words import Words


def gpu_blocks(summary: Summary, words: Words) -> list[Block]:
    blocks: list[Block] = []
    if summary.held_gpus:
        header = words.header("gpu_index", "gpu_held", "gpu_before", "gpu_ballast", "gpu_put_back")
        rows = tuple(_held(one, words) for one in summary.held_gpus)
        blocks.append(Table(header, rows, words("resources.gpu_held"), numeric=False))
    for result in summary.deployments:
        told = [(stage.span.name, label, gpu) for stage in result.stages for label, gpu in stage.resources.gpus.items()]
        rows = tuple((stage, label, *_more(gpu, words)) for stage, label, gpu in told)
        if any(set(row[2:]) != {NONE} for row in rows):
            names = (
                "stage",
                "gpu_index",
                "gpu_server_memory",
                "gpu_memory_temperature",
                "gpu_energy",
                "gpu_pcie",
                "gpu_nvlink",
                "gpu_throttled",
            )
            header = words.header(*names)
            blocks.append(Table(header, rows, words("resources.gpu_more", deployment=result.name)))
        slices = [(stage.span.name, uuid, one) for stage in result.stages for uuid, one in stage.resources.mig_instances.items()]
        if slices:
            rows = tuple((stage, uuid, size(one.memory_used_bytes.max), size(one.memory_bytes)) for stage, uuid, one in slices)
            header = words.header("stage", "mig_instance", "gpu_memory", "mig_memory")
            blocks.append(Table(header, rows, words("resources.mig", deployment=result.name), labels=2))
        if result.not_told:
            blocks.append(Paragraph(words("resources.not_told", deployment=result.name, series="; ".join(result.not_told))))
    return blocks


def _held(one: HeldGpu, words: Words) -> tuple[str, ...]:
    ballast = NONE if one.ballast_bytes is None else size(one.ballast_bytes)
    back = words("resources.put_back" if one.put_back else "resources.not_put_back")
    return one.gpu, _settings(one.settings, words) or NONE, _settings(one.previous, words) or NONE, ballast, back


def _settings(settings: Mapping[str, Any], words: Words) -> str:
    return words.listed([f"{kind} {words('resources.not_known') if value is None else value}" for kind, value in settings.items()])


def _more(gpu: GpuUse, words: Words) -> Iterator[str]:
    yield size(gpu.server_memory_bytes.max if gpu.server_memory_bytes else None)
    yield _max(gpu.memory_temperature_c)
    yield whole(gpu.energy_j)
    yield _both(gpu.pcie_rx_bytes_per_s, gpu.pcie_tx_bytes_per_s)
    yield _both(gpu.nvlink_rx_bytes_per_s, gpu.nvlink_tx_bytes_per_s)
    yield words.listed([f"{words(f'resources.throttle_{why}')} {percent(ratio)}" for why, ratio in gpu.throttle_ratios.items()]) or NONE


def _both(received: float | None, sent: float | None) -> str:
    return NONE if received is None and sent is None else f"{size(received)} / {size(sent)}"


def _max(level: Level | None) -> str:
    return whole(level.max if level else None)
