"""The tensors of an item, read from the values of a file and checked against the model. Readers of all formats use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.tensor import ModelTensors, Tensor, TensorSpec, checked_shape, count_strings, encode_values, size_fault
from trtbench.scenario.workload.tensors import Tensors
from trtbench.system.foreign_text import names, shown


class ItemReader:
    """Makes items of one model. Messages begin with the place in the file."""

    def __init__(self, model: ModelTensors, asked: Tensors) -> None:
        self.model = model
        self.inputs: Mapping[str, TensorSpec] = {spec.name: spec for spec in model.inputs}
        self.outputs: Mapping[str, TensorSpec] = {spec.name: spec for spec in model.outputs}
        self._shapes = {name: checked_shape(self.inputs[name], shape, model.batched) for name, shape in asked.shapes.items()}

    def only_input(self, where: str) -> TensorSpec:
        """The input of a model that needs one; WorkloadError for another model, whose data has to name its inputs."""
        needed = [spec for spec in self.model.inputs if not spec.optional] or list(self.model.inputs)
        if len(needed) > 1:
            raise WorkloadError(f"{where}: holds one input, the model needs {names(spec.name for spec in needed)}: give JSON or .npz")
        return needed[0]

    def shape_of(self, spec: TensorSpec, values: int, given: Sequence[int] | None, where: str) -> tuple[int, ...]:
        """The shape of a tensor of `values` values: given, or that of the workload, or the only one that the model's leaves open."""
        shape = tuple(given) if given is not None else self._shapes.get(spec.name)
        if shape is None and sum(size < 0 for size in spec.shape) == 1:
            fixed = prod(size for size in spec.shape if size > 0)
            shape = tuple(size if size > 0 else values // fixed for size in spec.shape) if values and values % fixed == 0 else None
        shape = spec.shape if shape is None else shape
        name = shown(spec.name, 80)
        if any(size < 0 for size in shape):
            raise WorkloadError(f"{where}: {name} has the variable shape {list(spec.shape)}: give its shape there, or as --shape")
        if not spec.fits(shape):
            raise WorkloadError(f"{where}: {name} has shape {list(shape)}, the model takes {list(spec.shape)}, where -1 is any size")
        return shape

    def tensor(self, spec: TensorSpec, values: Any, given: Sequence[int] | None, where: str) -> Tensor:
        """A tensor of numbers, truth values or strings; WorkloadError for values that the type or the shape does not fit."""
        try:
            array = np.asarray(values).reshape(-1)
            shape = self.shape_of(spec, array.size, given, where)
            if array.size != prod(shape):
                raise ValueError(f"{array.size} values, shape {list(shape)} has {prod(shape)}")
            return Tensor(spec.name, spec.datatype, shape, encode_values(array, spec.datatype))
        except WorkloadError:
            raise
        except (ValueError, OverflowError, TypeError) as error:
            raise WorkloadError(f"{where}: {shown(spec.name, 80)}: {error}: correct the values") from error

    def raw_tensor(self, spec: TensorSpec, data: bytes, given: Sequence[int] | None, where: str) -> Tensor:
        """A tensor of bytes as KServe encodes them."""
        values = len(data) // spec.value_bytes if spec.value_bytes else count_strings(data) or 0
        tensor = Tensor(spec.name, spec.datatype, self.shape_of(spec, values, given, where), data)
        if fault := size_fault(tensor):
            raise WorkloadError(f"{where}: {shown(spec.name, 80)} has {fault}: correct the data")
        return tensor

    def item(self, inputs: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> Item:
        """WorkloadError if an input that the model needs is missing."""
        if missing := [spec.name for spec in self.model.inputs if not spec.optional and spec.name not in inputs]:
            raise WorkloadError(f"{where}: the model needs {names(missing)} too: add it")
        in_order = {name: inputs[name] for name in self.inputs if name in inputs}
        return Item(in_order, expected, where)

    def spec_of(self, name: str, where: str, outputs: bool = False) -> TensorSpec:
        known = self.outputs if outputs else self.inputs
        if name not in known:
            what = "output" if outputs else "input"
            raise WorkloadError(f"{where}: the model has no {what} {shown(name, 80)}; its {what}s are {names(known)}")
        return known[name]
