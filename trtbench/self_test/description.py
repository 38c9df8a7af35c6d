"""What the replay server says of itself: the calibration model, as a Triton that serves it would describe it."""

from __future__ import annotations

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from trtbench.system import packaged_data

MODEL = "calibration"
_SERVICE = "/inference.GRPCInferenceService/"
STREAM_INFER = _SERVICE + "ModelStreamInfer"
DIRECTORY = packaged_data.MODEL_REPO / MODEL


def answers() -> dict[str, bytes]:
    """Method path -> serialised reply, for the unary calls that a client asks before it sends load."""
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
