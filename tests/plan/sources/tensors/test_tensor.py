"""Tensors in KServe's types: encoding, ranges, shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.tensor import (
    INTEGERS,
    InputRow,
    Tensor,
    TensorSpec,
    checked_shape,
    count_strings,
    decode_floats,
    digest_of,
    encode_strings,
    encode_values,
    size_fault,
)


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_strings_are_counted_as_they_were_encoded(elements: list[bytes]) -> None:
    data = encode_strings(elements)
    assert count_strings(data) == len(elements)
    if data:
        assert count_strings(data[:-1]) is None


@given(st.sampled_from(sorted(INTEGERS)), st.data())
def test_integers_within_their_type_come_back(datatype: str, data: st.DataObject) -> None:
    kind = np.dtype(INTEGERS[datatype])
    values = data.draw(arrays.arrays(kind, st.integers(1, 5)))
    assert np.frombuffer(encode_values(values.tolist(), datatype), kind).tolist() == values.tolist()


def test_integers_on_both_sides_of_the_signed_range_stay_exact() -> None:
    assert encode_values([[0, 2**63 + 1]], "UINT64") == bytes(8) + (2**63 + 1).to_bytes(8, "little")
    with pytest.raises(ValueError, match="not a whole number of UINT64"):
        encode_values([-1, 2**63 + 1], "UINT64")


@pytest.mark.parametrize(
    ("value", "datatype", "message"),
    [
        (256, "UINT8", "256 is not a whole number of UINT8, 0 to 255"),
        (-1, "UINT64", "-1 is not a whole number of UINT64"),
        (1.5, "INT32", "1.5 is not a whole number"),
        (2, "BOOL", "2 is neither true nor false"),
        (70000.0, "FP16", "70000.0 is out of the range of FP16"),
        ("a", "FP32", "'a' is not a number, the input is FP32"),
        (1e39, "FP32", "1e.39 is out of the range of FP32"),
        (10**39, "BF16", "1e.39 is out of the range of BF16"),
        (10**400, "FP64", "is out of the range of FP64"),
        (None, "BYTES", "'None' is not a string"),
        (True, "BYTES", "'True' is not a string"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(value: object, datatype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_values([value], datatype)


@pytest.mark.parametrize(("datatype", "largest"), [("FP16", 65504.0), ("FP32", float(np.finfo(np.float32).max)), ("FP64", 1e308)])
def test_the_largest_values_are_kept_and_whole_numbers_beyond_64_bits_are_numbers(datatype: str, largest: float) -> None:
    decoded = decode_floats(datatype, encode_values([largest, -largest], datatype))
    assert decoded is not None and decoded.tolist() == [largest, -largest]
    if datatype != "FP16":
        assert decode_floats(datatype, encode_values([10**30], datatype)) == pytest.approx([1e30])


@given(arrays.arrays(np.float32, 4, elements=st.floats(width=32, allow_nan=False, min_value=-(2.0**100), max_value=2.0**100)))
def test_bf16_is_the_nearest_of_its_values(values: np.ndarray) -> None:
    decoded = decode_floats("BF16", encode_values(values, "BF16"))
    assert decoded is not None
    assert np.all(np.abs(decoded - values) <= np.abs(values) * 2**-8 + 2.0**-133)


def test_bf16_keeps_what_is_not_finite() -> None:
    decoded = decode_floats("BF16", encode_values([np.nan, np.inf, -np.inf], "BF16"))
    assert decoded is not None and np.isnan(decoded[0]) and decoded[1:].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(
    ("tensor", "fault"),
    [
        (Tensor("t", "FP32", (2, 2), bytes(16)), ""),
        (Tensor("t", "FP32", (2, 2), bytes(15)), "15 bytes for shape"),
        (Tensor("t", "BYTES", (2,), encode_strings([b"a", b""])), ""),
        (Tensor("t", "BYTES", (3,), encode_strings([b"a", b""])), "2 strings for shape"),
        (Tensor("t", "BYTES", (1,), b"\xff\xff\xff\xff"), "no whole strings"),
    ],
)
def test_the_size_of_a_tensor_is_that_of_its_shape(tensor: Tensor, fault: str) -> None:
    assert size_fault(tensor).startswith(fault) and bool(fault) == bool(size_fault(tensor))


SPEC = TensorSpec("IMAGE", "FP32", (3, -1, -1))


@pytest.mark.parametrize(
    ("given_shape", "message"),
    [
        (None, r"variable shape \[3, -1, -1\]: give its shape, as --shape IMAGE:3,N,N"),
        ((1, 3, 8, 8), "has the batch dimension: leave it out, as --shape IMAGE:3,8,8"),
        ((4, 8, 8), r"the model takes \[3, -1, -1\]"),
        ((3, 8), "the model takes"),
    ],
)
def test_a_shape_that_the_model_cannot_take_is_refused(given_shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        checked_shape(SPEC, given_shape, batched=True)


@given(st.integers(1, 9), st.integers(1, 9))
def test_variable_dimensions_take_any_size(height: int, width: int) -> None:
    assert checked_shape(SPEC, (3, height, width), batched=True) == (3, height, width)


def test_the_digest_is_of_values_names_shapes_and_roles() -> None:
    base = Tensor("a", "UINT8", (2,), b"ab")
    rows = [
        InputRow(0, (base,)),
        InputRow(1, (base,)),
        InputRow(0, (), (base,)),
        InputRow(0, (Tensor("b", "UINT8", (2,), b"ab"),)),
        InputRow(0, (Tensor("a", "UINT8", (1, 2), b"ab"),)),
        InputRow(0, (Tensor("a", "UINT8", (2,), b"ac"),)),
    ]
    assert len({digest_of([row]) for row in rows}) == len(rows)
