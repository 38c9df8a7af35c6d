"""Item: one example of a data set, without a batch dimension; and a request of several items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.tensor import InputRow, Tensor
from trtbench.system.foreign_text import shown


@dataclass(frozen=True)
class Item:
    """The inputs of one example by name, and the outputs that are expected of it. `where`: its place in a file, for messages."""

    inputs: Mapping[str, Tensor]
    expected: Mapping[str, Tensor] = field(default_factory=dict)
    where: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(len(tensor.data) for tensor in (*self.inputs.values(), *self.expected.values()))


def row_of(number: int, items: Sequence[Item], batched: bool) -> InputRow:
    """One request that carries `items`, stacked along the batch dimension if the model has one.

    WorkloadError for items that do not have the same tensors and shapes.
    """
    return InputRow(
        number, _stacked([item.inputs for item in items], items, batched), _stacked([one.expected for one in items], items, batched)
    )


def _stacked(parts: Sequence[Mapping[str, Tensor]], items: Sequence[Item], batched: bool) -> tuple[Tensor, ...]:
    first = parts[0]
    for part, item in zip(parts, items, strict=True):
        if {name: tensor.shape for name, tensor in part.items()} != {name: tensor.shape for name, tensor in first.items()}:
            raise WorkloadError(
                f"workload.tensors.batch_size: {shown(items[0].where)} and {shown(item.where)} have different tensors or shapes, so they "
                "cannot share a request: give -b 1 (batch_size: 1), or data of one shape"
            )
    head = (len(parts),) if batched else ()
    return tuple(
        Tensor(name, tensor.datatype, (*head, *tensor.shape), b"".join(part[name].data for part in parts)) for name, tensor in first.items()
    )
