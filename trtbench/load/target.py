"""The model under load, as its server describes it: what can be asked of it, and whether it can be measured at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trtbench.errors import UserError
from trtbench.load.channel import open_channel
from trtbench.load.encoder_tensors import ENCODER_INPUTS, EncoderTensors, read_tensors
from trtbench.load.tls import client_context
from trtbench.scenario import ClientSettings, Task

_DEFAULTS = ClientSettings()
_REQUIRED_INPUTS = ("input_ids", "input_lengths", "request_output_len")
_REQUIRED_OUTPUTS = ("output_ids", "sequence_length")
TIME_OUTPUTS = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")


class TargetError(UserError):
    """A server or a model that cannot be put under load; the message names what was found and the remedy."""


@dataclass(frozen=True)
class Target:
    """One model of one Triton server. `url` is host:port of its gRPC endpoint; `version` is "" for the server's own choice.

    `max_batch_size` is Triton's; 0: the model does not batch, and tensors carry no leading batch dimension.
    `inputs` and `outputs` are the names that the model has: releases differ. `others`: further servers of the same model, as `url`,
    among which the client deals the requests in turn. `encoder`: of a model that embeds, in one answer a
    request.
    """

    url: str
    model: str
    version: str
    max_batch_size: int
    triton_version: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    others: tuple[str, ...] = ()
    encoder: EncoderTensors | None = None

    @property
    def batched(self) -> bool:
        """Tensors carry a leading batch dimension."""
        return self.max_batch_size > 0

    @property
    def seed_input(self) -> str | None:
        """`seed`, or `random_seed` as it was called before."""
        return next((name for name in ("seed", "random_seed") if name in self.inputs), None)

    @property
    def gives_times(self) -> bool:
        """The server tells its own instants of each request."""
        return "return_perf_metrics" in self.inputs and self.outputs.issuperset(TIME_OUTPUTS)


def inspect_target(
    url: str, model: str, version: str = "", timeout_s: float = 5.0, settings: ClientSettings = _DEFAULTS, task: Task = "generate"
) -> Target:
    """Ask a running server about a model, the way `settings` say; TargetError when it cannot be put under this load.

    UserError when a file of `settings.tls` does not do. Blocks up to about 3 x `timeout_s`.
    """
    if settings.tls:
        client_context(settings.tls)
    with open_channel(url, settings, asynchronous=False) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        _check_ready(stub, url, model, version, timeout_s)
        config = stub.ModelConfig(service_pb2.ModelConfigRequest(name=model, version=version), timeout=timeout_s).config
        triton_version = stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=timeout_s).version
    target = Target(
        url=url,
        model=model,
        version=version,
        max_batch_size=config.max_batch_size,
        triton_version=triton_version,
        inputs=frozenset(tensor.name for tensor in config.input),
        outputs=frozenset(tensor.name for tensor in config.output),
    )
    if task == "embed":
        return replace(target, encoder=_encoder(target, config))
    _check_fit(target, config)
    return target


def _encoder(target: Target, config: Any) -> EncoderTensors:
    try:
        return read_tensors(config)
    except ValueError as error:
        raise TargetError(f"{target.url}: model {target.model!r} {error}") from error


def _check_ready(stub: Any, url: str, model: str, version: str, timeout_s: float) -> None:
    try:
        if not stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=timeout_s, wait_for_ready=True).ready:
            raise TargetError(f"{url}: the server is up but not ready; wait until its models are loaded, its log says which is not")
        known = {found.name: found for found in stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=timeout_s).models}
        ready = stub.ModelReady(service_pb2.ModelReadyRequest(name=model, version=version), timeout=timeout_s).ready
    except grpc.RpcError as error:
        raise TargetError(
            f"{url}: no Triton gRPC endpoint answers there ({error.code().name}: {error.details()}); "
            "check host and port (gRPC is 8001 by default, 8000 is HTTP) and that the server runs"
        ) from error
    if ready:
        return
    if model not in known:
        raise TargetError(f"{url}: no model {model!r} there; it has {', '.join(sorted(known)) or 'none'}")
    where = f"{model!r} version {version}" if version else repr(model)
    raise TargetError(f"{url}: model {where} is not ready (state {known[model].state}: {known[model].reason}); load it first")


def _check_fit(target: Target, config: Any) -> None:
    name = f"{target.url}: model {target.model!r}"
    if "input_ids" not in target.inputs:
        text = next((found for found in ("text_input", "QUERY") if found in target.inputs), None)
        why = f"takes text ({text}), not token ids" if text else f"has no input_ids (it takes {', '.join(sorted(target.inputs))})"
        raise TargetError(f"{name} {why}: name the tensorrt_llm model, not the ensemble or a model around it")
    if set(target.inputs) <= ENCODER_INPUTS and not config.model_transaction_policy.decoupled:
        raise TargetError(f"{name} embeds, it generates nothing (it takes {', '.join(sorted(target.inputs))}): give --task embed")
    missing = [*(set(_REQUIRED_INPUTS) - target.inputs), *(set(_REQUIRED_OUTPUTS) - target.outputs)]
    if missing:
        raise TargetError(f"{name} lacks {', '.join(sorted(missing))}: it is not a tensorrt_llm model of TensorRT-LLM's Triton backend")
    if not config.model_transaction_policy.decoupled:
        raise TargetError(
            f"{name} is not decoupled, it cannot stream tokens; set model_transaction_policy {{ decoupled: true }} in its config.pbtxt"
        )
