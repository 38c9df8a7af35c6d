from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from trtbench.client.kserve.messages import decode_response
from trtbench.client.kserve.token_template import TokenTemplate, token_template

ids_of = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40)


def message(ids: list[int], length: int | None = None, final: bool = False, first: str = "output_ids", error: str = "") -> bytes:
    stream = service_pb2.ModelStreamInferResponse(error_message=error)
    infer = stream.infer_response
    infer.model_name, infer.model_version, infer.id = "m" * 200, "1", "x-1"  # a length of two bytes on the wire
    infer.parameters["triton_final_response"].bool_param = final
    tensors = {"output_ids": np.array(ids, np.int32), "sequence_length": np.array([len(ids) if length is None else length], np.int32)}
    for name in sorted(tensors, key=lambda name: name != first):
        infer.outputs.add(name=name, datatype="INT32", shape=[1, 1, tensors[name].size])
        infer.raw_output_contents.append(tensors[name].tobytes())
    return bytes(stream.SerializeToString())


def template_of(raw: bytes) -> TokenTemplate | None:
    return token_template(raw, decode_response(raw))


def matches(template: TokenTemplate, raw: bytes) -> bool:
    return len(raw) == template.size and raw.startswith(template.prefix) and raw.endswith(template.suffix)


@given(ids_of, st.data(), st.sampled_from(["output_ids", "sequence_length"]))
def test_a_match_is_what_protobuf_reads(ids: list[int], data: st.DataObject, first: str) -> None:
    others = data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=len(ids), max_size=len(ids)))
    template, later = template_of(message(ids, first=first)), message(others, first=first)
    assert template and matches(template, later)
    assert array("i", later[template.start : template.stop]).tolist() == decode_response(later).tokens == others
    assert template.tokens == len(others)


@given(ids_of, st.data())
def test_bytes_changed_anywhere_either_do_not_match_or_mean_the_same(ids: list[int], data: st.DataObject) -> None:
    """The proof that the shortcut makes: whatever matches is a plain token response with the window's ids."""
    raw = message(ids)
    template = template_of(raw)
    assert template
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if matches(template, bytes(changed)):
        response = decode_response(bytes(changed))
        assert response.tokens == array("i", changed[template.start : template.stop]).tolist()
        assert not response.final and not response.error and response.times is None


@pytest.mark.parametrize(
    "raw",
    [
        message([1, 2], final=True),
        message([1, 2], error="broken"),
        message([1, 2, 0, 0], length=2),  # padding: how much of it counts may change
        message([]),
        service_pb2.ModelStreamInferResponse(error_message="no").SerializeToString(),
        b"",
    ],
    ids=["final", "error", "padded", "no tokens", "error alone", "empty"],
)
def test_what_says_more_than_tokens_makes_no_template(raw: bytes) -> None:
    assert template_of(raw) is None


def test_a_final_response_with_tokens_of_the_same_length_does_not_match() -> None:
    template, last = template_of(message([1, 2])), message([3, 4], final=True)
    assert template and len(last) == template.size and not matches(template, last)


def test_tensors_that_lie_elsewhere_make_no_template() -> None:
    """Contents inside the tensor (`contents`), two tensors of one name, a message in two pieces."""
    twice = service_pb2.ModelStreamInferResponse()
    for value in (1, 2):
        twice.infer_response.outputs.add(name="output_ids", datatype="INT32", shape=[1, 1, 1])
        twice.infer_response.raw_output_contents.append(np.int32(value).tobytes())
    raw = twice.SerializeToString()
    assert template_of(raw) is None
    assert template_of(message([1]) + message([2])) is None
