"""The three files that aiperf 0.13 writes: profile_export_aiperf.json, profile_export_aiperf.csv and profile_export.jsonl."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np

from trtbench import __version__
from trtbench.export.aiperf_metrics import OF_REQUESTS, OF_RUN, PERCENTILES, distribution
from trtbench.export.exported_stage import NS_PER_S, ExportedStage
from trtbench.export.writer import Files, Writer, json_line, json_text
from trtbench.rundir.requests import MISSING

_SCHEMA_VERSION = "1.4"
_STATISTICS = ("avg", "min", "max", "sum", *(f"p{rank}" for rank in PERCENTILES), "std")
_CHUNKS = ("inter_chunk_latency", "Inter Chunk Latency", "ms")
_WITHOUT_UNIT = ("count", "requests")  # aiperf's names of metrics leave these units out


def _files(stage: ExportedStage) -> Files:
    figures = _figures(stage)
    return {
        "profile_export_aiperf.json": json_text(_summary(stage, figures)),
        "profile_export_aiperf.csv": _table(figures),
        "profile_export.jsonl": "".join(map(json_line, _records(stage))),
    }


def _figures(stage: ExportedStage) -> dict[str, dict[str, Any]]:
    """Every metric that exists, by its key, with its header, unit and statistics."""
    found: dict[str, dict[str, Any]] = {}
    for one in OF_RUN:
        if (value := one.value(stage)) is not None:
            found[one.key] = {"header": one.header, "unit": one.unit, "avg": value}
    of_requests = [((one.key, one.header, one.unit), one.values(stage)) for one in OF_REQUESTS]
    of_requests.append((_CHUNKS, np.concatenate([np.empty(0), *stage.gaps_ms])))
    for (key, header, unit), values in of_requests:
        if statistics := distribution(values):
            found[key] = {"header": header, "unit": unit} | statistics
    return found


def _summary(stage: ExportedStage, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """No aiperf_version: aiperf did not measure this."""
    errors = Counter(error for error in _errors(stage) if error)
    return {
        "schema_version": _SCHEMA_VERSION,
        "exported_by": f"trtbench {__version__}",
        **{key: {name: value for name, value in figure.items() if name != "header"} for key, figure in figures.items()},
        "was_cancelled": not stage.run_is_complete,
        "is_complete": stage.run_is_complete,
        "error_summary": [
            {"error_details": {"type": kind, "message": message}, "count": count} for (kind, message), count in errors.items()
        ],
        "start_time": _date(stage, stage.done.sent_ns.min()) if len(stage.done) else None,
        "end_time": _date(stage, stage.done.done_ns.max()) if len(stage.done) else None,
    }


def _date(stage: ExportedStage, instant_ns: int) -> str:
    at = datetime.fromtimestamp(stage.wall_ns(int(instant_ns)) / NS_PER_S, tz=timezone.utc)
    return at.replace(tzinfo=None).isoformat()  # aiperf writes the time of its machine without a zone


def _errors(stage: ExportedStage) -> list[tuple[str, str] | None]:
    """[n] (Class, message) of a request that failed."""
    outcomes, messages = stage.requests.texts("outcome"), stage.requests.texts("error")
    pairs = zip(outcomes.codes.tolist(), messages.codes.tolist(), stage.completed.tolist(), strict=True)
    return [None if done else (outcomes.values[outcome], messages.values[message]) for outcome, message, done in pairs]


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Metrics with percentiles, an empty line, metrics with one value; in aiperf's order, by key."""
    text = io.StringIO()
    lines = csv.writer(text)
    several = [figure for _, figure in sorted(figures.items()) if "p50" in figure]
    single = [figure for _, figure in sorted(figures.items()) if "p50" not in figure]
    lines.writerow(["Metric", *_STATISTICS])
    lines.writerows([_name(one), *(f"{one[name]:.2f}" for name in _STATISTICS)] for one in several)
    lines.writerow([])
    lines.writerow(["Metric", "Value"])
    lines.writerows([_name(one), f"{one['avg']:.2f}"] for one in single)
    return text.getvalue()


def _name(figure: Mapping[str, Any]) -> str:
    return str(figure["header"]) if figure["unit"] in _WITHOUT_UNIT else f"{figure['header']} ({figure['unit']})"


def _records(stage: ExportedStage) -> Iterator[dict[str, Any]]:
    """One record a request that was sent, in the order of the scheduled times."""
    requests = stage.requests
    position = np.cumsum(stage.completed) - 1  # of a completed request among the completed ones
    values = [(one.key, one.unit, one.values(stage)) for one in OF_REQUESTS]
    errors = _errors(stage)
    for row in np.argsort(requests.due_ns, kind="stable").tolist():
        if requests.sent_ns[row] == MISSING:
            continue
        record: dict[str, Any] = {"metadata": _metadata(stage, row), "metrics": {}}
        if (error := errors[row]) is not None:
            record["error"] = {"type": error[0], "message": error[1]}
        else:
            at = int(position[row])
            record["metrics"] = {key: {"value": found[at], "unit": unit} for key, unit, found in values if np.isfinite(found[at])}
            if len(stage.gaps_ms[at]):
                record["metrics"][_CHUNKS[0]] = {"value": stage.gaps_ms[at], "unit": _CHUNKS[2]}
        yield record


def _metadata(stage: ExportedStage, row: int) -> dict[str, Any]:
    requests = stage.requests
    index, session = int(requests.index[row]), int(requests.session[row])
    ended_ns = int(requests.done_ns[row] if requests.done_ns[row] != MISSING else requests.sent_ns[row])
    return {
        "session_num": index if session == MISSING else session,
        "x_request_id": f"{stage.deployment}-{stage.name}-{index}",
        "turn_index": max(int(requests.turn[row]), 0),
        "credit_issued_ns": stage.wall_ns(int(requests.due_ns[row])),
        "request_start_ns": stage.wall_ns(int(requests.sent_ns[row])),
        "request_end_ns": stage.wall_ns(ended_ns),
        "worker_id": "trtbench",
        "record_processor_id": "trtbench",
        "benchmark_phase": "profiling",
        "was_cancelled": requests.texts("outcome").equal("cancelled")[row],
    }


AIPERF = Writer(
    "aiperf",
    _files,
    "warm-ups, requests that were never sent, telemetry of the server, KV cache and batching, findings and the verdict; latencies count "
    "from the send time, effective_latency from the scheduled time",
)
