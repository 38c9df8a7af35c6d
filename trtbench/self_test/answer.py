"""The answers of a replay server: the description of its model, as from a Triton with the calibration model, and responses to requests.

The responses to a request are frames that differ only in their stamp.
"""

from __future__ import annotations

from array import array

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from trtbench.client.http2.frames import HEADER_BYTES
from trtbench.self_test.http2 import message_frame
from trtbench.self_test.stamp import BYTES, NUMBERS, write_stamp, write_stamps
from trtbench.system import packaged_data

MODEL = "calibration"
_SERVICE = "/inference.GRPCInferenceService/"
STREAM_INFER = _SERVICE + "ModelStreamInfer"
DIRECTORY = packaged_data.MODEL_REPO / MODEL


def answers() -> dict[str, bytes]:
    """The serialised replies to the unary calls that a client makes before it sends load, by the path of the method."""
    config = text_format.Parse((DIRECTORY / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    index = service_pb2.RepositoryIndexResponse()
    index.models.add(name=MODEL, version="1", state="READY")
    replies = {
        "ServerLive": service_pb2.ServerLiveResponse(live=True),
        "ServerReady": service_pb2.ServerReadyResponse(ready=True),
        "ServerMetadata": service_pb2.ServerMetadataResponse(name="trtbench replay server"),
        "ModelReady": service_pb2.ModelReadyResponse(ready=True),
        "ModelConfig": service_pb2.ModelConfigResponse(config=config),
        "RepositoryIndex": index,
    }
    return {_SERVICE + name: reply.SerializeToString() for name, reply in replies.items()}


_BURST = 64  # responses in one write when there is no gap between them
_LENGTH = array("i", [NUMBERS]).tobytes()
_LENGTH_BYTES = 2 + len(_LENGTH)  # as a protobuf field: tag, size, value


class RequestError(ValueError):
    """The request does not fit the calibration model; the client gets the message."""


class Answer:
    """The answer to one request, the same as from model_repo/calibration/1/model.py.

    `index` is the number of the next response, `due_ns` its instant."""

    __slots__ = ("_final", "_frame", "_frames", "_stamp_at", "count", "due_ns", "gap_ns", "index", "stream_id")

    def __init__(self, stream_id: int, message: bytes, arrival_ns: int) -> None:
        try:
            request = service_pb2.ModelInferRequest.FromString(message)
        except Exception as error:  # protobuf's DecodeError has moved between its releases
            raise RequestError(f"not a ModelInferRequest: {error}") from error
        first_us, gap_us, self.count = _schedule(request)
        self.stream_id = stream_id
        self.index = 0
        self.due_ns = arrival_ns + first_us * 1000
        self.gap_ns = gap_us * 1000
        self._frame, self._final = (bytearray(message_frame(stream_id, _response(request, final))) for final in (False, True))
        self._stamp_at = len(self._frame) - _LENGTH_BYTES - BYTES
        self._frames = None if gap_us else np.tile(np.frombuffer(self._frame, np.uint8), (min(_BURST, self.count), 1))

    @property
    def is_over(self) -> bool:
        return self.index == self.count

    @property
    def next_write(self) -> int:
        """The number of responses in the next write."""
        rest = self.count - self.index - 1
        return min(rest, _BURST) if rest and self._frames is not None and self.index else 1

    @property
    def window_bytes(self) -> int:
        """The number of flow-controlled bytes in the next write."""
        return self.next_write * (len(self._frame) - HEADER_BYTES)

    def write(self, now_ns: int) -> bytearray | memoryview:
        """The bytes of the next write, with their stamps; they are valid until the following call."""
        responses, index = self.next_write, self.index
        self.index += responses
        if responses > 1:
            assert self._frames is not None
            frames = self._frames[:responses]
            write_stamps(frames, self._stamp_at, index, now_ns)
            self.due_ns = now_ns
            return frames.reshape(-1).data
        frame = self._final if self.is_over else self._frame
        write_stamp(frame, self._stamp_at, index, max(now_ns - self.due_ns, 0), now_ns)
        self.due_ns = self.due_ns + self.gap_ns if self.gap_ns else now_ns
        return frame


def _schedule(request: service_pb2.ModelInferRequest) -> tuple[int, int, int]:
    """(Delay of the first response, delay of each further one, number of responses); delays in microseconds."""
    inputs = {tensor.name: raw for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=False)}
    try:
        delays, lengths = (array("i", inputs.get(name, b"")) for name in ("input_ids", "request_output_len"))
    except ValueError as error:
        raise RequestError(f"not 32-bit integers: {error}") from error
    if len(delays) < 2 or min(delays[:2]) < 0 or not lengths or lengths[0] < 1:
        raise RequestError("input_ids must begin with two delays in microseconds, request_output_len be at least 1")
    return delays[0], delays[1], lengths[0]


def _response(request: service_pb2.ModelInferRequest, final: bool) -> bytes:
    """A response as Triton sends it. Protobuf writes fields by number, so the raw tensors are last, and the ids are at a fixed distance
    from the end."""
    message = service_pb2.ModelStreamInferResponse()
    infer = message.infer_response
    infer.model_name, infer.model_version, infer.id = request.model_name, request.model_version or "1", request.id
    infer.parameters["triton_final_response"].bool_param = final
    infer.outputs.add(name="output_ids", datatype="INT32", shape=[1, 1, NUMBERS])
    infer.outputs.add(name="sequence_length", datatype="INT32", shape=[1, 1])
    infer.raw_output_contents.extend([bytes(BYTES), _LENGTH])
    serialised: bytes = message.SerializeToString()
    return serialised


def error_response(text: str) -> bytes:
    serialised: bytes = service_pb2.ModelStreamInferResponse(error_message=text).SerializeToString()
    return serialised
