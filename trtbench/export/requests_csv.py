"""A table of requests for spreadsheets, by trtbench's own definitions: latencies count from the scheduled time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from trtbench.export.exported_stage import NS_PER_MS, ExportedStage, span_ms
from trtbench.export.writer import Files, Writer

COLUMNS = (
    "deployment",
    "stage",
    "index",
    "outcome",
    "error",
    "input_tokens",
    "output_tokens",
    "due_ms",
    "send_lag_ms",
    "ttft_ms",
    "tpot_ms",
    "e2e_latency_ms",
)
"""due_ms counts from the first scheduled time of the stage."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a text that begins so


def _files(stage: ExportedStage) -> Files:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(COLUMNS)
    lines.writerows(_rows(stage))
    return {"requests.csv": text.getvalue()}


def _rows(stage: ExportedStage) -> Iterator[list[Any]]:
    requests = stage.requests
    due, first, last = requests.due_ns, requests.first_token_ns, requests.last_token_ns
    tokens = requests.output_tokens
    spans = [span_ms(due, requests.sent_ns), span_ms(due, first), span_ms(first, last), span_ms(due, requests.done_ns)]
    begin_ns = int(due.min()) if len(due) else 0
    outcomes, errors = requests.texts("outcome"), requests.texts("error")
    for row in np.argsort(due, kind="stable").tolist():
        lag, ttft, decode, latency = (span[row] for span in spans)
        tpot = decode / (tokens[row] - 1) if tokens[row] > 1 else np.nan
        message = errors.values[errors.codes[row]]
        yield [
            *(stage.deployment, stage.name, requests.index[row], outcomes.values[outcomes.codes[row]], _inert(message)),
            *(requests.input_tokens[row], tokens[row], f"{(due[row] - begin_ns) / NS_PER_MS:.6f}"),
            *("" if np.isnan(value) else f"{value:.6f}" for value in (lag, ttft, tpot, latency)),
        ]


def _inert(text: str) -> str:
    """A server's text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


REQUESTS_CSV = Writer("csv", _files, "arrivals of single tokens, warm-ups, telemetry, findings and the verdict")
