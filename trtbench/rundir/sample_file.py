"""Reads the samples of a deployment, a row group or a part of the lines at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.rundir.lines import read_lines, regular
from trtbench.rundir.losses import Losses
from trtbench.rundir.request_file import DAMAGED, fitting
from trtbench.rundir.samples import Samples
from trtbench.rundir.schema import SAMPLE_SCHEMA, sample_table
from trtbench.rundir.sealing import lost_when_sealed

_ROWS = 100_000


def read_samples(path: Path, losses: Losses) -> Samples:
    """Of Parquet; none where it cannot be read."""
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
    """Of JSON lines."""
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
