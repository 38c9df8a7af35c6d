"""Models of task infer in one real Triton (tests/fixtures/any_model)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.triton.numpy1 import variables
from trtbench.serving.repository.model_repository import RenderedModel
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

_SOURCE = Path(__file__).parents[2] / "fixtures" / "any_model"
_PAIR = 'input [ {{ name: "INPUT0" data_type: {0} dims: {1} }}, {{ name: "INPUT1" data_type: {0} dims: {1} }} ]\n'
_TWO = 'output [ {{ name: "OUTPUT0" data_type: {0} dims: {1} }}, {{ name: "OUTPUT1" data_type: {0} dims: {1} }} ]\n'
_ONE = 'input [ {{ name: "INPUT0" data_type: {0} dims: {1} }} ]\noutput [ {{ name: "OUTPUT0" data_type: {0} dims: {1} }} ]\n'
_BATCHER = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 2000 }\n"
_SEQUENCES = """max_batch_size: 1
sequence_batching { max_sequence_idle_microseconds: 5000000 control_input [
  { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
  { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
  { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ] }
input [ { name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] } ]
"""
MODELS = {
    "add_sub": ("add_sub", _BATCHER + (_PAIR + _TWO).format("TYPE_FP32", "[ 4 ]")),
    "variable": ("identity", _BATCHER + _ONE.format("TYPE_FP32", "[ -1, 3 ]")),
    "strings": ("identity", "max_batch_size: 4\n" + _ONE.format("TYPE_STRING", "[ 2 ]")),
    "integers": ("identity", "max_batch_size: 0\n" + _ONE.format("TYPE_UINT8", "[ 3 ]")),
    "scaled": (
        "scaled",
        "max_batch_size: 0\n"
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] }, '
        '{ name: "FACTOR" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]\n',
    ),
    "wrong_size": ("wrong_size", "max_batch_size: 0\n" + _ONE.format("TYPE_FP32", "[ 4 ]")),
    "refuses": ("refuses", "max_batch_size: 0\n" + _ONE.format("TYPE_FP32", "[ 4 ]")),
    "repeat": (
        "repeat",
        "max_batch_size: 0\nmodel_transaction_policy { decoupled: true }\n"
        'input [ { name: "COUNT" data_type: TYPE_INT32 dims: [ 1 ] }, '
        '{ name: "DELAY_MS" data_type: TYPE_INT32 dims: [ 1 ] optional: true } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 1 ] } ]\n',
    ),
    "accumulate": ("accumulate", _SEQUENCES),
}
"""By the model's name: what it does, and its configuration."""


@contextmanager
def serve_any_models(installation: TritonInstallation, directory: Path) -> Iterator[TritonServer]:
    root = directory / "models"
    for name, (what, config) in MODELS.items():
        said = f'parameters {{ key: "what" value {{ string_value: "{what}" }} }}\n'
        head = f'name: "{name}"\nbackend: "python"\ninstance_group [ {{ count: 1 kind: KIND_CPU }} ]\n'
        RenderedModel(name, head + config + said, _SOURCE).write(root)
    numpy1 = variables(directory / "numpy1", installation.environment()["PATH"])
    with TritonServer(installation, root, directory / "server.log", variables=numpy1) as server:
        yield server
