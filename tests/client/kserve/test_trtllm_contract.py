"""What the load generator sends to TensorRT-LLM's Triton model and what the sampler reads of it, against the recorded contracts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.contracts.contract import CONTAINERS, contract
from trtbench.client.kserve.messages import request_body
from trtbench.client.kserve.target import KserveTarget
from trtbench.plan.plan import PlannedPrompt
from trtbench.scenario.workload.workload import Sampling, Workload
from trtbench.telemetry.exposition import _WANTED

versions = pytest.mark.parametrize("name", ["0.19.0", "1.0", "1.2", *CONTAINERS])


def model_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = contract(name)["triton_models"]["inflight_batcher_llm/tensorrt_llm"]
    return found


def target_of(name: str) -> KserveTarget:
    inputs, outputs = (frozenset(tensor["name"] for tensor in model_of(name)[part]) for part in ("inputs", "outputs"))
    return KserveTarget("h:1", "tensorrt_llm", "", max_batch_size=64, triton_version="2.60.0", inputs=inputs, outputs=outputs)


@versions
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.7, top_k=5, top_p=0.9)])
def test_every_tensor_of_a_request_is_one_of_the_model(name: str, sampling: Sampling) -> None:
    prompt = PlannedPrompt(np.array([5, 6, 7], np.int32), output_tokens=4, seed=9)
    request = service_pb2.ModelInferRequest.FromString(request_body(target_of(name), prompt, Workload(sampling=sampling), end_id=2))
    known = {tensor["name"]: tensor for tensor in model_of(name)["inputs"]}
    for sent in request.inputs:
        assert known[sent.name]["data_type"] == f"TYPE_{sent.datatype}"
        (length,) = known[sent.name]["dims"]
        assert list(sent.shape) == [1, 3 if length == -1 else 1]
    sent = {tensor.name for tensor in request.inputs}
    assert {name for name, tensor in known.items() if not tensor.get("optional")} <= sent
    assert {"end_id", "streaming", "runtime_top_k"} <= sent
    assert ({"seed", "random_seed"} & sent) if sampling.temperature else True
    assert {tensor.name for tensor in request.outputs} <= {tensor["name"] for tensor in model_of(name)["outputs"]}
    assert {"output_ids", "sequence_length"} <= {tensor.name for tensor in request.outputs}


@versions
def test_every_gauge_that_is_read_is_one_of_the_backend(name: str) -> None:
    families = contract(name)["metrics"]
    for family, (label, values) in _WANTED.items():
        if family.startswith("nv_trt_llm_"):
            assert families[family]["label"] == label
            assert set(values) <= set(families[family]["values"])
