"""The responses of a run's requests as a table. docs/python.md says what each column means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from trtbench.analysis.stage.token_counting import with_counts
from trtbench.api.joined import joined, repeated
from trtbench.api.request_table import text_column
from trtbench.errors import UserError
from trtbench.rundir import DeploymentDirectory, Ragged, Requests, RunDirectory, Tokens

_NONE = Ragged(np.empty(0, np.int64), np.zeros(1, np.int64))
_NO_TOKENS = Tokens(np.empty(0, np.int64), _NONE, _NONE, _NONE, None)


def response_table(run: RunDirectory, deployment: str | None, stage: str | None) -> pd.DataFrame:
    """One row a response with tokens, in the order of the requests; UserError for a deployment or stage that the run does not have."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # which has no requests, but the columns
    chosen = {one.name: one.columns() for one in directories if deployment in (None, one.name)}
    if not chosen:
        raise UserError(f"deployment {deployment!r}: the run has {', '.join(one.name for one in directories)}")
    stages = sorted({value for requests in chosen.values() for value in requests.texts("stage").values})
    if stage is not None and stage not in stages:
        raise UserError(f"stage {stage!r}: there is {', '.join(stages) or 'none'}")
    return joined([table for name, requests in chosen.items() for table in _of_deployment(name, requests, stage)])


def _of_deployment(name: str, requests: Requests, stage: str | None) -> Iterator[pd.DataFrame]:
    """A table for each part of the file, so that only what is asked for is ever held; an empty one before them."""
    counted, _ = with_counts(requests)
    asked = counted if stage is None else counted.select(counted.texts("stage").equal(stage))
    yield _table(name, asked, _NO_TOKENS)
    for tokens in asked.tokens(lags=True):
        yield _table(name, asked, tokens)


def _table(name: str, requests: Requests, tokens: Tokens) -> pd.DataFrame:
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
    """One a response; missing for requests whose arrivals the kernel did not stamp."""
    assert tokens.lags is not None
    lengths = tokens.arrivals.lengths
    stamped = tokens.lags.lengths == lengths
    known = np.repeat(stamped, lengths)
    values = np.zeros(len(known), np.int64)
    values[known] = tokens.lags.select(stamped).values
    return pd.arrays.IntegerArray(values, ~known)
