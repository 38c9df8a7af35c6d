"""Tables of docs/metrics.md and docs/metrics.zh-CN.md: the formula of each metric, and the columns of each table of the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reference.markdown import NOTE, code, table
from trtbench.analysis.metric import Metric
from trtbench.analysis.metrics import GPU_METRICS, GROUP_METRICS, KEY_FIGURES, METRICS
from trtbench.report.kit.words import Words
from trtbench.report.sections.appendix import meant_elsewhere, metrics_by_formula
from trtbench.scenario.parts.choices import Language

_SECTIONS = {
    "core": "metrics",
    **dict.fromkeys(("latency", "more", "groups"), "latency"),
    **dict.fromkeys(("throughput", "drafts"), "throughput"),
    **dict.fromkeys(("engine_times", "waterfall", "tail_waterfall"), "latency"),
    **dict.fromkeys(("triton", "inflight"), "batching"),
    **dict.fromkeys(("kv", "reuse", "reuse_ratio"), "kv"),
    **dict.fromkeys(("resources", "gpu", "gpu_more", "cost"), "resources"),
    "client": "client",
}
"""Section of the report that has each table."""

_HEADERS: dict[Language, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (("name", "unit", "formula", "who means something else"), ("section of the report", "figures")),
    "zh": (("名称", "单位", "公式", "其他工具的含义"), ("报告章节", "数据")),
}
_CHINESE_PAGE = """# 指标

{note}

本页列出报告中的全部指标。完整说明（百分位、请求等式、时间戳、KV 块等）见[英文页](metrics.md)；术语见[术语表](glossary.md)。
时刻取自同一单调时钟，以纳秒计；延迟从请求的计划发送时刻（due）起算，因此包含请求在压测客户端内等待的时间（没有 coordinated omission）。

## 公式

{formulas}

## 报告中的数据

{columns}
"""


def formula_table(language: Language = "en") -> str:
    words = Words(language)
    rows = [
        (
            ", ".join(code(metric.name) for metric in group),
            group[0].unit.removeprefix("count"),
            words(f"formula.{key}"),
            meant_elsewhere(key, words),
        )
        for key, group in metrics_by_formula(METRICS, words).items()
    ]
    return table(_HEADERS[language][0], rows)


def column_table(language: Language = "en") -> str:
    """The figures of each section of the report, by their labels, with the metric that each belongs to if it has a formula."""
    words = Words(language)
    labels: dict[str, dict[str, None]] = {section: {} for section in _SECTIONS.values()}
    for section, label in _labels(words):
        labels[section][label] = None
    return table(_HEADERS[language][1], ((words(f"section.{section}"), " · ".join(shown)) for section, shown in labels.items()))


def _labels(words: Words) -> Iterator[tuple[str, str]]:
    metrics: tuple[Metric[Any], ...] = (*METRICS, *GROUP_METRICS, *GPU_METRICS)
    of_column = {column.name: metric for metric in METRICS for column in metric.columns}
    yield from ((_SECTIONS["core"], _label(name, of_column[name], words)) for name in KEY_FIGURES)
    for metric in metrics:
        yield from ((_SECTIONS[row], code(metric.name)) for row in metric.row)
        yield from ((_SECTIONS[name], _label(column.name, metric, words)) for column in metric.columns for name in column.tables)


def _label(column: str, metric: Metric[Any], words: Words) -> str:
    return words(f"col.{column}") + (f" ({code(metric.name)})" if metric.formula else "")


def chinese_page() -> str:
    return _CHINESE_PAGE.format(note=NOTE, formulas=formula_table("zh"), columns=column_table("zh"))
