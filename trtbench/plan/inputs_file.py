"""inputs.parquet: the tensors of a plan, next to plan.jsonl. A line for each tensor, in the order of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.errors import naming
from trtbench.plan.sources.tensors.tensor import InputRow, Tensor

INPUTS_FILE = "inputs.parquet"
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("role", pa.string()),  # input, or expected: an output
        ("name", pa.string()),
        ("datatype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.large_binary()),  # as KServe encodes it
    ]
)


def save_inputs(rows: Iterable[InputRow], path: Path) -> None:
    with naming(path), pq.ParquetWriter(path, _SCHEMA, compression="zstd", compression_level=1) as writer:
        for row in rows:
            writer.write_table(pa.Table.from_pylist(list(_lines(row)), schema=_SCHEMA))


def load_inputs(path: Path) -> tuple[InputRow, ...]:
    """OSError or ValueError (pyarrow's) if the file is missing or damaged."""
    lines = (line for batch in pq.ParquetFile(path).iter_batches() for line in batch.to_pylist())
    return tuple(_row(number, list(of_row)) for number, of_row in groupby(lines, key=lambda line: line["row"]))


def _lines(row: InputRow) -> Iterator[dict[str, Any]]:
    for role, tensors in (("input", row.inputs), ("expected", row.expected)):
        for one in tensors:
            yield {"row": row.number, "role": role, "name": one.name, "datatype": one.datatype, "shape": list(one.shape), "data": one.data}


def _row(number: int, lines: list[dict[str, Any]]) -> InputRow:
    tensors = [(line["role"], Tensor(line["name"], line["datatype"], tuple(line["shape"]), line["data"])) for line in lines]
    inputs, expected = (tuple(tensor for role, tensor in tensors if role == wanted) for wanted in ("input", "expected"))
    return InputRow(number, inputs, expected)
