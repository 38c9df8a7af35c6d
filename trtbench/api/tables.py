"""The tables of a run: its requests, its responses and its telemetry samples. docs/python.md says what each column means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals

from trtbench.analysis.stage.token_counting import is_exact, with_counts
from trtbench.errors import UserError
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.ragged import Ints, Ragged
from trtbench.rundir.records import EngineCounts
from trtbench.rundir.requests import MISSING, Requests, Tokens
from trtbench.rundir.samples import Series
from trtbench.rundir.schema import SERVER_TIMES

_TEXTS_AT_START, _TEXTS_AT_END = ("stage", "outcome"), ("error", "model_version", "finish_reason", "mix")
_FLAGS = ("warmup", "planned_cancel")
_COUNTS = ("index", "prompt", "input_tokens", "asked_output_tokens", "output_tokens", "responses", "attempts", "turn")
_INSTANTS = ("sent_ns", "first_token_ns", "last_token_ns", "done_ns")
_LENGTHS = {
    "ttft_ns": ("due_ns", "first_token_ns"),
    "ttft_from_sent_ns": ("sent_ns", "first_token_ns"),
    "ttfo_ns": ("due_ns", "first_output_ns"),
    "e2e_latency_ns": ("due_ns", "done_ns"),
    "e2e_latency_from_sent_ns": ("sent_ns", "done_ns"),
    "send_lag_ns": ("due_ns", "sent_ns"),
}


def request_table(run: RunDirectory) -> pd.DataFrame:
    """One row for each planned request, in the order of the deployments and of their files."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # an empty table with all columns
    return joined([_requests_of(directory) for directory in directories])


def text_column(requests: Requests, name: str) -> Any:
    """A column of repeated texts, empty for a request that has none."""
    column = requests.texts(name)
    return texts(column.codes, column.values)


def _requests_of(directory: DeploymentDirectory) -> pd.DataFrame:
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
    """The time between two instants; missing for a request that lacks one of them."""
    starts, ends = requests.column(start), requests.column(end)
    known = (starts != MISSING) & (ends != MISSING)
    return pd.arrays.IntegerArray(np.where(known, ends, 0) - np.where(known, starts, 0), ~known)


def _tpot_ns(requests: Requests) -> pd.arrays.FloatingArray:
    """TPOT as in the report. It is missing if all tokens came in one response, because there is no time between tokens then."""
    known = (requests.responses > 1) & (requests.output_tokens > 1)
    tokens = np.where(known, requests.output_tokens - 1, 1)
    lengths = np.where(known, requests.last_token_ns, 0) - np.where(known, requests.first_token_ns, 0)
    return pd.arrays.FloatingArray(lengths / tokens, ~known)


_NONE = Ragged(np.empty(0, np.int64), np.zeros(1, np.int64))
_NO_TOKENS = Tokens(np.empty(0, np.int64), _NONE, _NONE, _NONE, None)


def response_table(run: RunDirectory, deployment: str | None, stage: str | None) -> pd.DataFrame:
    """One row for each response with tokens, in the order of the requests; UserError for an unknown deployment or stage."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # an empty table with all columns
    chosen = {one.name: one.columns() for one in directories if deployment in (None, one.name)}
    if not chosen:
        raise UserError(f"deployment {deployment!r}: the run has {', '.join(one.name for one in directories)}")
    stages = sorted({value for requests in chosen.values() for value in requests.texts("stage").values})
    if stage is not None and stage not in stages:
        raise UserError(f"stage {stage!r}: there is {', '.join(stages) or 'none'}")
    return joined([table for name, requests in chosen.items() for table in _responses_of(name, requests, stage)])


def _responses_of(name: str, requests: Requests, stage: str | None) -> Iterator[pd.DataFrame]:
    """An empty table, then one for each part of the file, so that only the requested rows are ever in memory."""
    counted, _ = with_counts(requests)
    chosen = counted if stage is None else counted.select(counted.texts("stage").equal(stage))
    yield _response_rows(name, chosen, _NO_TOKENS)
    for tokens in chosen.tokens(lags=True):
        yield _response_rows(name, chosen, tokens)


def _response_rows(name: str, requests: Requests, tokens: Tokens) -> pd.DataFrame:
    rows = tokens.at[tokens.arrivals.rows()]
    table: pd.DataFrame = pd.DataFrame(
        {
            "deployment": repeated(name, len(rows)),
            "stage": text_column(requests, "stage")[rows],
            "warmup": requests.warmup[rows],
            "index": requests.index[rows],
            "response": tokens.arrivals.places(),
            "arrived_ns": tokens.arrivals.values,
            "tokens": tokens.counts.values.astype(np.int64),
            "read_lag_ns": _lags(tokens),
        }
    )
    return table


def _lags(tokens: Tokens) -> Any:
    """The delay with which each response was read; missing for requests whose arrivals the kernel did not timestamp."""
    assert tokens.lags is not None
    lengths = tokens.arrivals.lengths
    stamped = tokens.lags.lengths == lengths
    known = np.repeat(stamped, lengths)
    values = np.zeros(len(known), np.int64)
    values[known] = tokens.lags.select(stamped).values
    return pd.arrays.IntegerArray(values, ~known)


def sample_table(run: RunDirectory) -> pd.DataFrame:
    """One row for each reading, by deployment, series and time."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # an empty table with all columns
    return joined([table for directory in directories for table in _samples_of(directory)])


def _samples_of(directory: DeploymentDirectory) -> Iterator[pd.DataFrame]:
    yield _sample_rows("", "", "", (np.empty(0, np.int64), np.empty(0, np.float64)))
    for name, label, series in directory.samples().each():
        yield _sample_rows(directory.name, name, label, series)


def _sample_rows(deployment: str, name: str, label: str, series: Series) -> pd.DataFrame:
    times_ns, values = series
    texts = {"deployment": deployment, "name": name, "label": label}
    columns = {column: repeated(text, len(times_ns)) for column, text in texts.items()}
    table: pd.DataFrame = pd.DataFrame(columns | {"time_ns": times_ns, "value": values})
    return table


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of one or more tables with the same columns in one table; their categories are united."""
    whole: pd.DataFrame = pd.DataFrame({name: _joined_column([table[name] for table in tables]) for name in tables[0].columns})
    return whole


def texts(codes: npt.NDArray[Any], values: Sequence[str]) -> Any:
    """A column of repeated texts, where `codes` are positions in `values`."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(values)))


def repeated(text: str, count: int) -> Any:
    """A column that has the same text in every row."""
    return texts(np.zeros(count, np.int8), [text] if count else [])


def _joined_column(parts: Sequence[pd.Series[Any]]) -> Any:
    if isinstance(parts[0].dtype, pd.CategoricalDtype):
        return union_categoricals(list(parts))
    return pd.concat(list(parts), ignore_index=True)
