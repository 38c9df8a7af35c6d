"""Questions: the calls by which a server describes itself and its model, before any inference.

They use a gRPC channel with the client settings of the scenario. Each has its own deadline and may fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from trtbench.client.http2.frames import MAX_HEADER_BLOCK_BYTES
from trtbench.client.transport.tls import channel_credentials
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.foreign_text import names, shown

_OPTIONS: dict[str, int | str] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_metadata_size": MAX_HEADER_BLOCK_BYTES,  # a status text may be a stack trace; gRPC may drop it from 8 KiB on
    "grpc.use_local_subchannel_pool": 1,  # every channel has its own connection
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,  # a proxy of the environment is not part of the load
}


def open_channel(url: str, settings: ClientSettings, most_bytes: int) -> grpc.Channel:
    """A channel that accepts answers of at most `most_bytes`; UserError if a file of `settings.tls` cannot be read."""
    options = _OPTIONS | {"grpc.max_receive_message_length": most_bytes}
    if settings.tls is None:
        return grpc.insecure_channel(url, options=tuple(options.items()))
    if settings.tls.server_name:
        options["grpc.ssl_target_name_override"] = settings.tls.server_name
    return grpc.secure_channel(url, channel_credentials(settings.tls), options=tuple(options.items()))


_TYPE_NAMES = frozenset(model_config_pb2.DataType.keys())
MOST_ANSWER_BYTES = 16 << 20  # a model configuration has some KiB, the index of a server of thousands of models less than 1 MiB
_DETAIL_CHARACTERS = 200
_LATE_S = 1.0
_LATER_CALL_S = 2.0  # the time limit of a call after another one was not answered within its time limit
CONSEQUENCES: Mapping[str, str] = {
    "ModelReady": "whether the model is ready was not checked",
    "ModelConfig": "the names of its tensors are from ModelMetadata, its batch size limit is unknown, and how it answers is assumed",
    "ServerMetadata": "the server's version is unknown",
    "ModelStatistics": "batches, queue times and compute times of the server are unknown",
}
"""For each call, what a run does not know if the call is not answered."""


class Questions:
    """Asks a server questions. `unanswered` are the calls that failed, by name, with the error of the server or of gRPC.

    No further question is asked if the server has left two calls without an answer, or has kept gRPC from applying its own deadline.
    """

    def __init__(self, channel: Any, metadata: tuple[tuple[str, str], ...], timeout_s: float) -> None:
        self.unanswered: dict[str, str] = {}
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._metadata, self._timeout_s = metadata, timeout_s
        self._patience_s = timeout_s + _LATER_CALL_S

    def ask(self, call: str, **fields: Any) -> Any:
        """The answer to the KServe v2 call of that name, or None if there is none."""
        if self._patience_s <= 0:
            self.unanswered[call] = "not asked, because the server left the calls before it without an answer"
            return None
        request = getattr(service_pb2, f"{call}Request")(**fields)
        asked = getattr(self._stub, call).future(request, timeout=self._timeout_s, metadata=self._metadata)
        try:
            return asked.result(self._timeout_s + _LATE_S)
        except grpc.RpcError as error:
            self.unanswered[call] = self._why(error)
        except grpc.FutureTimeoutError:  # a flood of PING keeps gRPC from applying its own deadline
            asked.cancel()
            self.unanswered[call] = self._too_late()
            self._patience_s = 0.0
        return None

    def config(self, model: str, version: str) -> Any:
        """The model's inference.ModelConfig, or the part of it that follows from its metadata; None if the server gives neither."""
        answer = self.ask("ModelConfig", name=model, version=version)
        if answer is not None:
            return answer.config
        metadata = self.ask("ModelMetadata", name=model, version=version)
        return None if metadata is None else _config_from(metadata)

    def state(self, model: str, version: str) -> str:
        """The reason why a model is not ready, as the end of a sentence; UnknownModelError if the server has no such model."""
        index = self.ask("RepositoryIndex")
        if index is None:
            return f"not ready, and the server gives no reason (RepositoryIndex: {self.unanswered['RepositoryIndex']}); load it first"
        rows = [row for row in index.models if row.name == model]
        if not rows:
            raise UnknownModelError(f"the server has no model {shown(model)!r}; it has {names({row.name for row in index.models})}")
        of_version = [row for row in rows if row.version == version] if version else rows
        states = [f"{_state(row.state)}{f' ({shown(row.reason)})' if row.reason else ''}" for row in of_version if row.state]
        if states:
            return f"not ready: {'; '.join(dict.fromkeys(states[:4]))}; load it first"
        if version and any(row.state for row in rows):
            return f"not ready; the versions that the server lists are {names({row.version or '-' for row in rows})}: give one of them"
        return "not loaded: it is in the server's repository (explicit model control); load it first"

    def _why(self, error: Any) -> str:
        code = error.code().name
        if code == "DEADLINE_EXCEEDED":
            return self._too_late()
        details = shown(error.details() or "", _DETAIL_CHARACTERS)
        return f"{code}: {details}" if details else code

    def _too_late(self) -> str:
        self._timeout_s, waited_s = min(self._timeout_s, _LATER_CALL_S), self._timeout_s
        self._patience_s -= waited_s
        return f"no answer within {waited_s:g} s"


class UnknownModelError(LookupError):
    """The server has no model of this name."""


def notes(unanswered: Mapping[str, str]) -> list[str]:
    """A sentence for each unanswered call, which says what the run does not know."""
    return [f"The server did not answer {call} ({why}): {CONSEQUENCES[call]}." for call, why in unanswered.items() if call in CONSEQUENCES]


def remedy(unanswered: Mapping[str, str]) -> str:
    """What to do if calls that a run needs were not answered."""
    errors = " ".join(unanswered.values())
    if "restricted" in errors or "UNAUTHENTICATED" in errors or "PERMISSION_DENIED" in errors:
        return "the server requires credentials: give them as --header NAME:VALUE or --header-env NAME:VARIABLE (client.headers)"
    if all(why.startswith("UNIMPLEMENTED") for why in unanswered.values()):
        return "a gRPC server without KServe's inference service answers there: correct the port in --url (8001 by default)"
    return "see the server's log, or give the port of Triton's gRPC endpoint in --url (8001 by default)"


def _state(state: str) -> str:
    return f"state {shown(state, 40)}"


def _config_from(metadata: Any) -> Any:
    """A model configuration with the names, types and shapes of the tensors in `metadata`.

    The model is taken to batch if every input has an open leading dimension before another one."""
    config = model_config_pb2.ModelConfig(name=metadata.name)
    batched = all(len(tensor.shape) > 1 and tensor.shape[0] == -1 for tensor in metadata.inputs)
    config.max_batch_size = int(batched)
    config.model_transaction_policy.decoupled = True
    for described, tensors in ((metadata.inputs, config.input), (metadata.outputs, config.output)):
        for tensor in described:
            name = f"TYPE_{tensor.datatype.replace('BYTES', 'STRING')}"
            known = name in _TYPE_NAMES
            tensors.add(
                name=tensor.name,
                data_type=model_config_pb2.DataType.Value(name) if known else model_config_pb2.TYPE_INVALID,
                dims=tensor.shape[1:] if batched else tensor.shape,
            )
    return config
