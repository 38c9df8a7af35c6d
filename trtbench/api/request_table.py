"""The requests of a run as a table. docs/python.md says what each column means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from trtbench.analysis.stage.token_counting import is_exact, with_counts
from trtbench.api.joined import joined, repeated, texts
from trtbench.rundir import MISSING, DeploymentDirectory, Ints, Requests, RunDirectory
from trtbench.rundir.records import EngineCounts
from trtbench.rundir.schema import SERVER_TIMES

_TEXTS_AT_START, _TEXTS_AT_END = ("stage", "outcome"), ("error", "model_version", "finish_reason", "mix")
_FLAGS = ("warmup", "planned_cancel")
_COUNTS = ("index", "prompt", "input_tokens", "asked_output_tokens", "output_tokens", "responses", "attempts", "turn")
_INSTANTS = ("sent_ns", "first_token_ns", "last_token_ns", "done_ns")
_LENGTHS = {
    "ttft_ns": ("due_ns", "first_token_ns"),
    "ttft_from_sent_ns": ("sent_ns", "first_token_ns"),
    "e2e_latency_ns": ("due_ns", "done_ns"),
    "e2e_latency_from_sent_ns": ("sent_ns", "done_ns"),
    "send_lag_ns": ("due_ns", "sent_ns"),
}


def request_table(run: RunDirectory) -> pd.DataFrame:
    """One row a planned request, in the order of the deployments and of their files."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # which has no requests, but the columns
    return joined([_of_deployment(directory) for directory in directories])


def text_column(requests: Requests, name: str) -> Any:
    """Texts that repeat; "" where a request has none."""
    column = requests.texts(name)
    return texts(column.codes, column.values)


def _of_deployment(directory: DeploymentDirectory) -> pd.DataFrame:
    requests, _ = with_counts(directory.columns())
    columns: dict[str, Any] = {"deployment": repeated(directory.name, len(requests))}
    columns |= {name: text_column(requests, name) for name in _TEXTS_AT_START}
    columns |= {name: requests.column(name) for name in (*_FLAGS, *_COUNTS)}
    columns |= {"output_tokens_exact": is_exact(requests), "session": _nullable(requests.session), "due_ns": requests.due_ns}
    columns |= {name: _nullable(requests.column(name)) for name in _INSTANTS}
    columns |= {name: _between(requests, *ends) for name, ends in _LENGTHS.items()} | {"tpot_ns": _tpot_ns(requests)}
    columns |= {f"server_{name}": _nullable(requests.column(f"server.{name}")) for name in SERVER_TIMES}
    columns |= {f"engine_{name}": _nullable(requests.column(f"engine.{name}")) for name in EngineCounts.__slots__}
    columns |= {name: text_column(requests, name) for name in _TEXTS_AT_END}
    table: pd.DataFrame = pd.DataFrame(columns)
    return table


def _nullable(column: Ints) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(column, column == MISSING)


def _between(requests: Requests, start: str, end: str) -> pd.arrays.IntegerArray:
    """From one instant to another; missing where a request lacks one of them."""
    starts, ends = requests.column(start), requests.column(end)
    known = (starts != MISSING) & (ends != MISSING)
    return pd.arrays.IntegerArray(np.where(known, ends, 0) - np.where(known, starts, 0), ~known)


def _tpot_ns(requests: Requests) -> pd.arrays.FloatingArray:
    """As `tpot_ns` of the report: missing where all tokens came at once, for then no time between them was seen."""
    known = (requests.responses > 1) & (requests.output_tokens > 1)
    tokens = np.where(known, requests.output_tokens - 1, 1)
    lengths = np.where(known, requests.last_token_ns, 0) - np.where(known, requests.first_token_ns, 0)
    return pd.arrays.FloatingArray(lengths / tokens, ~known)
