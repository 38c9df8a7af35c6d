"""The encoder's Triton model on the real server: what it answers is what the checkpoint says, alone and in a batch; and a run of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.conftest import ROOT
from tests.support.command import ran
from tests.support.triton.kserve import batch_counts
from tests.support.triton.started_run import StartRun, assert_conserved, run_of, the_deployment
from trtbench.engine.build import PROVIDERS, build_engine
from trtbench.engine.checkpoint import resolve_checkpoint
from trtbench.engine.spec import BuildLog, Engine, EngineSpec
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True)]

Vector = npt.NDArray[np.float32]
DTYPES: tuple[Dtype, ...] = ("fp16", "int8")
DEPLOYMENT = Deployment(max_batch_size=8, dynamic_batching=DynamicBatching(max_queue_delay_us=200_000), inference_threads=1)
LEAST_COSINE = 0.99
MOST_BY_BATCH: dict[Dtype, float] = {"fp16": 1e-5, "int8": 0.005}
"""Of a value of an embedding of length 1. INT8 rounds activations too: a sum's last bit, turned by the batch's shape, moves a rounding."""
MINI = {
    "name": "encoder-mini",
    "task": "embed",
    "model": "minilm-l6-v2",
    "engines": ["int8"],
    "deployments": {"d": {"max_batch_size": 4, "dynamic_batching": {"max_queue_delay_us": 20_000}, "inference_threads": 1}},
    "workload": {"input_tokens": {"min": 8, "max": 40}, "languages": ["en"]},
    "load": [
        {"concurrency": 4, "requests": 24, "warmup_requests": 4},
        {"mode": "poisson", "rate": 10, "requests": 12},
    ],
    "slo": {"e2e_latency_ms": 60_000},
}


@dataclass(frozen=True)
class Encoder:
    url: str
    engine: Engine

    def ask(self, ids: list[int] | npt.NDArray[np.int32]) -> Vector:
        """The embedding of one sequence; grpc.RpcError."""
        data = np.asarray(ids, np.int32)
        request = service_pb2.ModelInferRequest(model_name=self.engine.model)
        request.inputs.add(name="input_ids", datatype="INT32", shape=[1, data.size])
        request.raw_input_contents.append(data.tobytes())
        with grpc.insecure_channel(self.url, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
        assert list(answer.outputs[0].shape) == [1, 384]
        return np.frombuffer(answer.raw_output_contents[0], np.float32)


@pytest.fixture(scope="module")
def encoder_engines(installation: TritonInstallation) -> dict[Dtype, Engine]:
    if reason := PROVIDERS["openvino"].unavailable():
        pytest.skip(reason)
    specs = {dtype: EngineSpec(model="minilm-l6-v2", dtype=dtype, provider="openvino") for dtype in DTYPES}
    return {dtype: build_engine(spec, ROOT / "engines" / "built", BuildLog(print)).engine for dtype, spec in specs.items()}


@pytest.fixture(scope="module", params=DTYPES)
def encoder(
    request: Any, installation: TritonInstallation, encoder_engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encoder]:
    directory, engine = tmp_path_factory.mktemp("encoder"), encoder_engines[request.param]
    repository = render(engine, DEPLOYMENT, Workload())
    root = repository.write(directory / "model_repository")
    with TritonServer(installation, root, directory / "server.log", repository.server_flags) as server:
        yield Encoder(server.endpoints.grpc, engine)


@pytest.fixture(scope="module")
def sequences() -> list[npt.NDArray[np.int32]]:
    random = np.random.default_rng(5)
    return [np.concatenate([[101], random.integers(1000, 30000, n), [102]]).astype(np.int32) for n in (3, 40, 198, 11, 64, 1, 120, 90)]


@pytest.fixture(scope="module")
def truth(sequences: list[npt.NDArray[np.int32]]) -> list[Vector]:
    """By the checkpoint's own weights in torch: the mean over the tokens, normalised."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(resolve_checkpoint("minilm-l6-v2", BuildLog(print)).path).eval()
    with torch.no_grad():
        means = [model(torch.tensor(ids[None].astype(np.int64))).last_hidden_state[0].mean(0).numpy() for ids in sequences]
    return [mean / np.linalg.norm(mean) for mean in means]


def test_alone_and_in_a_batch_it_says_what_the_checkpoint_says(
    encoder: Encoder, sequences: list[npt.NDArray[np.int32]], truth: list[Vector]
) -> None:
    alone = [encoder.ask(ids) for ids in sequences]
    before = batch_counts(encoder.url, encoder.engine.model)
    with ThreadPoolExecutor(len(sequences)) as pool:
        together = list(pool.map(encoder.ask, sequences))
    batches = {size: n - before.get(size, 0) for size, n in batch_counts(encoder.url, encoder.engine.model).items()}
    assert sum(n for size, n in batches.items() if size >= 2) >= 1, batches
    for one, batched, expected in zip(alone, together, truth, strict=True):
        assert float(one @ expected) > LEAST_COSINE
        assert np.abs(one - batched).max() < MOST_BY_BATCH[encoder.engine.dtype]
        assert float(np.linalg.norm(one)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([101] * 513, r"Prompt length \(513\) exceeds maximum input length \(512\)"),
        ([30522], "input_ids must lie in 0..30521"),
        ([-1], "lie in"),
    ],
)
def test_what_it_cannot_read_is_refused_alone(encoder: Encoder, ids: list[int], message: str) -> None:
    """The good request that may share its batch is served."""
    with ThreadPoolExecutor(2) as pool:
        bad, good = pool.submit(encoder.ask, ids), pool.submit(encoder.ask, [101, 2000, 102])
        assert len(good.result()) == 384
        with pytest.raises(grpc.RpcError, match=message) as raised:
            bad.result()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_run_from_the_checkpoint_to_the_report(start_run: StartRun, encoder_engines: dict[Dtype, Engine]) -> None:
    command = start_run(MINI)
    assert ran(command.wait(90), command.directory), command.err
    run = run_of(command)
    deployment = the_deployment(run)
    records = deployment.requests()
    assert_conserved(records, {("c4", True): 4, ("c4", False): 24, ("poisson-10", False): 12})
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert all(record.done_lag_ns is not None and not record.token_ns for record in records)
    assert all(8 <= record.input_tokens <= 40 and record.asked_output_tokens == 0 for record in records)
    (result,) = read_json(run.path / "summary.json")["deployments"]
    batch = result["stages"][0]["triton_batching"]
    assert batch["inferences"] == 24 and batch["mean_batch"] > 1 and batch["compute_mean_ns"] > 0
    assert "TTFT" not in Path(run.path / "report.md").read_text()
