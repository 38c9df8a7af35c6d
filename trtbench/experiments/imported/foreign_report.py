"""trtllm-bench's --report_json and --iteration_log: JSON values and lines as figures, facts and sampled series."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from trtbench.errors import UserError
from trtbench.rundir.experiment_events import ImportedFigure, ResultsImported
from trtbench.rundir.series import SeriesName

TOOL = "trtllm-bench"
LACKS = ("requests", "client_waits", "failures", "machine")
"""What its report does not hold, by the codes of the report's texts (`imported.lacks_NAME`)."""
_FIGURES = ("request_info", "performance", "streaming_metrics", "decoding_stats", "energy", "world_info", "dataset")
_FACTS = ("engine", "machine", "world_info", "dataset")
_NEEDED = ("performance.total_latency_ms", "request_info.num_requests")
_MOST_VALUES, _MOST_CHARACTERS, _MOST_LINE = 500, 300, 1 << 20
_NS_PER_MS, _NS_PER_US = 1_000_000, 1000
_LARGEST = 1e15

SERIES: dict[tuple[str, ...], SeriesName] = {
    ("numActiveRequests",): "inflight_active_requests",
    ("numQueuedRequests",): "inflight_waiting_requests",
    ("maxNumActiveRequests",): "inflight_max_requests",
    ("inflightBatchingStats", "numScheduledRequests"): "inflight_scheduled_requests",
    ("inflightBatchingStats", "numContextRequests"): "inflight_context_requests",
    ("inflightBatchingStats", "numGenRequests"): "inflight_generation_requests",
    ("inflightBatchingStats", "numPausedRequests"): "inflight_paused_requests",
    ("inflightBatchingStats", "numCtxTokens"): "inflight_context_tokens",
    ("kvCacheStats", "maxNumBlocks"): "kv_blocks_max",
    ("kvCacheStats", "usedNumBlocks"): "kv_blocks_used",
    ("kvCacheStats", "freeNumBlocks"): "kv_blocks_free",
    ("kvCacheStats", "tokensPerBlock"): "kv_block_tokens",
    ("iter",): "engine_iterations",
}
"""Key of an iteration: the series that has the same meaning."""


@dataclass(frozen=True)
class Iteration:
    """One line of an iteration log. `time_ns` is wall clock time."""

    time_ns: int
    values: dict[SeriesName, float]


def report_of(value: Any, file: str) -> ResultsImported:
    """The report in a JSON value; UserError if it is not one of trtllm-bench."""
    if not isinstance(value, dict):
        raise UserError(f"{file} is not a JSON object: give the file that trtllm-bench wrote by --report_json")
    figures = {name: number for block in _FIGURES for name, number in _leaves(block, value.get(block)) if _is_number(number)}
    missing = [name for name in _NEEDED if not figures.get(name, 0) > 0]
    if missing:
        raise UserError(f"{file} has no {missing[0]} above 0: give the file that trtllm-bench wrote by --report_json")
    facts = {name: str(text)[:_MOST_CHARACTERS] for block in _FACTS for name, text in _leaves(block, value.get(block)) if _is_text(text)}
    kept = [ImportedFigure(name, number) for name, number in list(figures.items())[:_MOST_VALUES]]
    return ResultsImported(tool=TOOL, file=file, facts=dict(list(facts.items())[:_MOST_VALUES]), figures=kept, lacks=LACKS)


def iteration_of(line: str) -> Iteration | None:
    """One line of the log, which is Python's repr of a dict; None if it cannot be used."""
    if len(line) > _MOST_LINE:
        return None
    try:
        row = ast.literal_eval(line.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    time_ns = _time_ns(row.get("timestamp")) if isinstance(row, dict) else None
    if time_ns is None:
        return None
    found = {name: _at(row, path) for path, name in SERIES.items()}
    return Iteration(time_ns, {name: float(value) for name, value in found.items() if _is_number(value)})


def _at(row: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _time_ns(text: Any) -> int | None:
    """`11-29-2026 10:15:46.680590`, as trtllm-bench writes it; the zone is not known, so only differences mean something."""
    found = re.fullmatch(r"(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d)\.(\d{6})", text, re.ASCII) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        second = datetime.strptime(found[1], "%m-%d-%Y %H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return int(second.timestamp()) * 1000 * _NS_PER_MS + int(found[2]) * _NS_PER_US


def _leaves(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(Dotted name, value) of everything in a block that is not an object or a list."""
    if isinstance(value, dict) and depth < 4:
        for key, part in value.items():
            yield from _leaves(f"{name}.{str(key)[:_MOST_CHARACTERS]}", part, depth + 1)
    elif not isinstance(value, (dict, list)):
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, bool)) and value != ""
