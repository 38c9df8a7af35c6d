"""Rows of drawn data: within their types, the same by the same seed, and refused where the model cannot take them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.rows import open_rows
from trtbench.plan.sources.tensors.tensor import BYTES, FLOATS, INTEGERS, NUMPY_TYPES, ModelTensors, TensorSpec, decode_floats, size_fault
from trtbench.scenario.workload.tensors import Tensors


def model(*inputs: TensorSpec, most: int = 8) -> ModelTensors:
    return ModelTensors(inputs, (TensorSpec("OUT", "FP32", (1,)),), most, decoupled=False, keeps_state=False)


@given(st.sampled_from([*NUMPY_TYPES, BYTES]), st.integers(1, 3), st.integers(0, 2**62), st.integers(0, 9))
def test_random_values_are_within_their_types(datatype: str, items: int, largest: int, length: int) -> None:
    asked = Tensors(batch_size=items, rows=2, largest_integer=largest, string_bytes=length)
    rows = open_rows(asked, model(TensorSpec("IN", datatype, (2, 3))), seed=5).rows
    assert len(rows) == 2
    for row in rows:
        (tensor,) = row.inputs
        assert tensor.shape == (items, 2, 3) and not size_fault(tensor)
        if datatype in INTEGERS:
            assert np.frombuffer(tensor.data, INTEGERS[datatype]).min() >= 0
            assert np.frombuffer(tensor.data, INTEGERS[datatype]).max() <= largest
        if datatype in (*FLOATS, "BF16"):
            values = decode_floats(datatype, tensor.data)
            assert values is not None and values.min() >= 0 and values.max() <= 1


def test_the_same_seed_gives_the_same_rows() -> None:
    asked, one = Tensors(rows=3), model(TensorSpec("IN", "FP32", (4,)))
    assert open_rows(asked, one, 1) == open_rows(asked, one, 1)
    assert open_rows(asked, one, 1) != open_rows(asked, one, 2)
    assert len(set(open_rows(asked, one, 1).rows)) == 3


def test_zeros_are_one_row() -> None:
    (row,) = open_rows(Tensors(data="zero"), model(TensorSpec("A", "INT8", (3,)), TensorSpec("B", BYTES, (2,))), 1).rows
    assert [tensor.data for tensor in row.inputs] == [bytes(3), bytes(8)]


def test_an_optional_input_is_sent_if_its_shape_is_given() -> None:
    inputs = (TensorSpec("IN", "FP32", (4,)), TensorSpec("MORE", "FP32", (-1,), optional=True))
    without, with_more = (open_rows(Tensors(shapes=shapes), model(*inputs), 1).rows[0] for shapes in ({}, {"MORE": (2,)}))
    assert [tensor.name for tensor in without.inputs] == ["IN"]
    assert [tensor.name for tensor in with_more.inputs] == ["IN", "MORE"]


@pytest.mark.parametrize(
    ("asked", "most", "message"),
    [
        (Tensors(batch_size=2), 0, r"\(-b\) 2: the model has max_batch_size 0"),
        (Tensors(batch_size=9), 8, "the model's max_batch_size is 8: lower it"),
        (Tensors(shapes={"NO": (1,)}), 8, "the model has no input NO; its inputs are IN"),
        (Tensors(shapes={"IN": (1 << 20, 1 << 20)}), 8, "a request would have .* MiB"),
        (Tensors(shapes={"IN": (1 << 14, 1 << 14)}, rows=1_000_000), 8, "workload.tensors.rows = 1000000"),
    ],
)
def test_what_the_model_or_the_memory_cannot_take_is_refused(asked: Tensors, most: int, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        open_rows(asked, model(TensorSpec("IN", "FP32", (-1, -1) if asked.shapes else (4, 4)), most=most), 1)


def test_a_model_with_optional_inputs_alone_needs_one_of_them() -> None:
    with pytest.raises(WorkloadError, match="all inputs of the model are optional: give the shape of one"):
        open_rows(Tensors(), model(TensorSpec("IN", "FP32", (4,), optional=True)), 1)
