"""Every sample of a deployment, as one pair of arrays for each series, read one row group or one part of the lines at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.rundir.lines import Losses, read_lines, regular
from trtbench.rundir.request_file import DAMAGED, fitting
from trtbench.rundir.schema import SAMPLE_SCHEMA, sample_table
from trtbench.rundir.sealing import lost_when_sealed
from trtbench.rundir.series import SeriesName

Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
_Keys = tuple[str, str]


class Samples:
    """Series by name and label, each in time order. Readings arrive in tables of a bounded number of rows, and only arrays are kept."""

    def __init__(self, tables: pa.Table | Iterable[pa.Table]) -> None:
        parts: dict[_Keys, list[Series]] = {}
        for table in [tables] if isinstance(tables, pa.Table) else tables:
            for key, series in _split(table):
                parts.setdefault(key, []).append(series)
        self._by_series = {key: _joined(parts.pop(key)) for key in list(parts)}

    def series(self, name: SeriesName, label: str = "") -> Series:
        """(time_ns, value), both of shape [n] and in time order; n = 0 for a series that was never sampled."""
        return self._by_series.get((name, label), (np.empty(0, np.int64), np.empty(0, np.float64)))

    def labels(self, *names: SeriesName) -> list[str]:
        """The labels of series with any of these names."""
        return sorted({label for name, label in self._by_series if name in names})

    def without(self, names: Sequence[SeriesName], times_ns: npt.NDArray[np.int64]) -> Samples:
        """The samples except the readings of these series at these instants."""
        rest = Samples(())
        for (name, label), (times, values) in self._by_series.items():
            kept = ~np.isin(times, times_ns) if name in names and len(times_ns) else np.ones(len(times), np.bool_)
            if kept.any():
                rest._by_series[name, label] = (times[kept], values[kept])
        return rest

    def of_length_class(self, name: str) -> Samples:
        """The samples of the model of one length class, under the names that the sums of all classes have here."""
        found, beginning = Samples(()), f"{name}/"
        for series, label in self._by_series:
            if series == "length_class" and label.startswith(beginning):
                inner, _, inner_label = label.removeprefix(beginning).partition("/")
                found._by_series[inner, inner_label] = self._by_series[series, label]
        return found

    def outside(self, start_ns: int, end_ns: int) -> int:
        """The number of readings before `start_ns` or after `end_ns`."""
        ends = (np.searchsorted(times, (start_ns, end_ns + 1)) for times, _ in self._by_series.values())
        return sum(len(times) for times, _ in self._by_series.values()) - sum(int(end - start) for start, end in ends)

    def names(self) -> list[str]:
        return sorted({name for name, _ in self._by_series})

    def each(self) -> Iterator[tuple[str, str, Series]]:
        """(Name, label, series) of every series by name and label, including unlisted names."""
        for name, label in sorted(self._by_series):
            yield name, label, self._by_series[name, label]


def _split(table: pa.Table) -> Iterable[tuple[_Keys, Series]]:
    """The readings of a table by series, in the order of the table."""
    table = table.drop_null()
    if not table.num_rows:
        return
    names, labels = (table[name].combine_chunks().dictionary_encode() for name in ("name", "label"))
    names, labels = (part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in (names, labels))
    keys = names.indices.to_numpy().astype(np.int64) * max(len(labels.dictionary), 1) + labels.indices.to_numpy()
    order = np.argsort(keys, kind="stable")
    times, values = (table[name].to_numpy()[order] for name in ("time_ns", "value"))
    found, starts = np.unique(keys[order], return_index=True)
    for key, start, end in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=True):
        name, label = divmod(key, max(len(labels.dictionary), 1))
        yield (names.dictionary[name].as_py(), labels.dictionary[label].as_py()), (times[start:end], values[start:end])


def _joined(parts: Sequence[Series]) -> Series:
    times, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if len(times) and (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    return times, values


_ROWS = 100_000


def read_samples(path: Path, losses: Losses) -> Samples:
    """The samples of a Parquet file; none if it cannot be read."""
    try:
        file = pq.ParquetFile(regular(path), page_checksum_verification=True)
        if file.schema_arrow.names != SAMPLE_SCHEMA.names:
            raise ValueError(f"columns {', '.join(file.schema_arrow.names)}")
    except DAMAGED as error:
        losses.note(path, "unreadable", 1, error)
        return Samples(())
    lost, _ = lost_when_sealed(file.metadata)
    if lost:
        losses.note(path, "rows", lost, "left out when the run was sealed")
    return Samples(_groups(file, path, losses, lost))


def read_unsealed_samples(path: Path, losses: Losses) -> Samples:
    """The samples of a file of JSON lines that is not sealed yet."""
    return Samples(_tables(path, losses))


def _groups(file: pq.ParquetFile, path: Path, losses: Losses, lost: int) -> Iterator[pa.Table]:
    why = ""
    for group in range(file.num_row_groups):
        try:
            table = file.read_row_group(group)
            columns = [fitting(table[field.name], field) for field in SAMPLE_SCHEMA]
            if any(column.null_count for column in columns):
                raise ValueError("samples without a value")
        except DAMAGED as error:
            lost, why = lost + file.metadata.row_group(group).num_rows, str(error)
            continue
        yield pa.table(columns, schema=SAMPLE_SCHEMA)
    if why:
        losses.note(path, "rows", lost, why)


def _tables(path: Path, losses: Losses) -> Iterator[pa.Table]:
    rows, rejected = read_lines(path, losses), 0
    while part := list(islice(rows, _ROWS)):
        table, left_out, _ = sample_table(part)
        rejected += left_out
        yield table
    if rejected:
        losses.note(path, "rows", rejected, "no sample")
