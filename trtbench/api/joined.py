"""Tables of several deployments, put together to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of at least one, which all have the same columns: their rows one after another, their categories united."""
    whole: pd.DataFrame = pd.DataFrame({name: _column([table[name] for table in tables]) for name in tables[0].columns})
    return whole


def texts(codes: npt.NDArray[Any], values: Sequence[str]) -> Any:
    """A column of texts that repeat, as numbers of `values`."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(values)))


def repeated(text: str, count: int) -> Any:
    """A column of one text."""
    return texts(np.zeros(count, np.int8), [text] if count else [])


def _column(parts: Sequence[pd.Series[Any]]) -> Any:
    if isinstance(parts[0].dtype, pd.CategoricalDtype):
        return union_categoricals(list(parts))
    return pd.concat(list(parts), ignore_index=True)
