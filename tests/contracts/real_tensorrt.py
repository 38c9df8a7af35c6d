"""The package `tensorrt` over NVIDIA's own parser and builder, on a machine without a driver (scripts/fetch_tensorrt.sh).

Reading a plan back needs a driver, so that alone is a stand-in: it says of the plan what the parsed network said of itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import tensorrt_bindings as real
from tensorrt_bindings import *  # noqa: F403 - as the real package does

__version__ = real.__version__

_networks: list[Any] = []


class Builder(real.Builder):  # type: ignore[misc]
    def build_serialized_network(self, network: Any, config: Any) -> Any:
        _networks.append(network)
        return super().build_serialized_network(network, config)


class Runtime:
    """The stand-in. REAL_TENSORRT_READS=nothing: as the real one without a driver."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized: Any) -> Any:
        if os.environ.get("REAL_TENSORRT_READS") == "nothing":
            return real.Runtime(self._logger).deserialize_cuda_engine(serialized)
        network = _networks[-1]
        tensors = {tensor.name: (mode, tensor) for mode, tensor in _ends(network)}
        layers = json.dumps({"Layers": [_layer(network.get_layer(index)) for index in range(network.num_layers)]})
        inspector = SimpleNamespace(get_engine_information=lambda form: layers)
        return SimpleNamespace(
            num_layers=network.num_layers,
            num_io_tensors=len(tensors),
            get_tensor_name=lambda index: list(tensors)[index],
            get_tensor_mode=lambda name: tensors[name][0],
            get_tensor_dtype=lambda name: tensors[name][1].dtype,
            get_tensor_shape=lambda name: tensors[name][1].shape,
            create_engine_inspector=lambda: inspector,
        )


def _ends(network: Any) -> Iterator[tuple[Any, Any]]:
    for index in range(network.num_inputs):
        yield real.TensorIOMode.INPUT, network.get_input(index)
    for index in range(network.num_outputs):
        yield real.TensorIOMode.OUTPUT, network.get_output(index)


def _layer(layer: Any) -> dict[str, Any]:
    inputs = [tensor for index in range(layer.num_inputs) if (tensor := layer.get_input(index)) is not None]
    outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
    named = {key: [(tensor.name, tensor.dtype.name) for tensor in ends] for key, ends in (("inputs", inputs), ("outputs", outputs))}
    return {"name": layer.name, "type": layer.type.name} | named
