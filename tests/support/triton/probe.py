"""Models that misbehave (tests/fixtures/probe_model), many in one real Triton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.triton.numpy1 import variables
from trtbench.serving.repository.model_repository import RenderedModel
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

_SOURCE = Path(__file__).parents[2] / "fixtures" / "probe_model"
_IDS = """
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "input_lengths" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "request_output_len" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "end_id" data_type: TYPE_INT32 dims: [ 1 ] optional: true },
  { name: "streaming" data_type: TYPE_BOOL dims: [ 1 ] optional: true }
]
output [
  { name: "output_ids" data_type: TYPE_%s dims: [ -1, -1 ] },
  { name: "sequence_length" data_type: TYPE_INT32 dims: [ -1 ] }
]
"""
_TEXT = """
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "max_tokens" data_type: TYPE_INT32 dims: [ 1 ] },
  { name: "stream" data_type: TYPE_BOOL dims: [ 1 ] optional: true }
]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]
"""


def probe_config(name: str, parameters: Mapping[str, str]) -> str:
    """`parameters`: `how`, what else it needs, and `ids`, the type of the token ids (INT32 by default)."""
    told = "".join(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n' for key, value in parameters.items())
    tensors = _TEXT if "pieces_hex" in parameters else _IDS % parameters.get("ids", "INT32")
    return (
        f'name: "{name}"\nbackend: "python"\nmax_batch_size: 0\nmodel_transaction_policy {{ decoupled: true }}\n'
        f"instance_group [ {{ count: 1 kind: KIND_CPU }} ]\n{tensors}{told}"
    )


@contextmanager
def serve_probes(installation: TritonInstallation, models: Mapping[str, Mapping[str, str]], directory: Path) -> Iterator[TritonServer]:
    """Each model by its name."""
    root = directory / "models"
    for name, parameters in models.items():
        RenderedModel(name, probe_config(name, parameters), _SOURCE).write(root)
    numpy1 = variables(directory / "numpy1", installation.environment()["PATH"])
    with TritonServer(installation, root, directory / "server.log", variables=numpy1) as server:
        yield server
