"""The whole of `trtbench build --provider tensorrt` with real ONNX steps; TensorRT and the CUDA driver are stand-ins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.contracts.stub import UNWRITABLE, environment
from tests.contracts.tensorrt_stub import members, write_tensorrt
from tests.engine.tensorrt_llm.test_provider import fake_cuda  # noqa: F401 - a fixture
from tests.support.engines.encoders import write_encoder
from tests.support.runs.facts import encoder_engine
from trtbench.cli import main
from trtbench.engine.build import choose_provider
from trtbench.engine.checkpoint import model_facts
from trtbench.engine.spec import Engine, EngineError, EngineSpec
from trtbench.engine.tensorrt import provider, runtime
from trtbench.engine.tensorrt.provider import PlanLimits, TensorRtProvider
from trtbench.engine.tensorrt.runtime import other_version
from trtbench.engine.tensorrt_llm.versions import tensorrt_version
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, LocalCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository import tensorrt as serving
from trtbench.serving.repository.renderers import RENDERERS, render
from trtbench.system import cuda

pytestmark = pytest.mark.timeout(240)


@dataclass
class Node:
    root: Path
    checkpoint: Path

    def build(self, *flags: str) -> Result:
        provider._gpus.cache_clear()
        return CliRunner().invoke(main.main, ["build", str(self.checkpoint), "--output", str(self.root / "built"), *flags])

    def engine(self, *flags: str) -> Engine:
        done = self.build(*flags)
        assert done.exit_code == 0, done.output
        return Engine.load(Path(done.stdout.splitlines()[0]))

    def refusal(self, *flags: str) -> str:
        done = self.build(*flags)
        assert done.exit_code == 2, done.output
        return done.stderr


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def node(tmp_path: Path, fake_cuda: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:  # noqa: F811
    for package in ("onnx", "onnxruntime", "torch", "transformers"):
        pytest.importorskip(package)
    checkpoint = write_encoder(tmp_path / "checkpoint")
    write_tensorrt(tmp_path / "stub", version)
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    paths = environment(tmp_path / "stub")
    paths["PYTHONPATH"] = os.pathsep.join([paths["PYTHONPATH"], os.environ.get("PYTHONPATH", "")])
    for name, value in (paths | {"LD_LIBRARY_PATH": str(fake_cuda)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(provider, "ctypes", SimpleNamespace(CDLL=lambda name: None))
    monkeypatch.chdir(UNWRITABLE)
    asked_once = (provider._gpus, cuda.visible_gpus)  # answers that are kept for the process, an earlier test's too
    for ask in asked_once:
        ask.cache_clear()
    yield Node(tmp_path, checkpoint)
    for ask in asked_once:
        ask.cache_clear()


def plan_of(engine: Engine) -> dict[str, object]:
    found: dict[str, object] = json.loads((engine.path / "model.plan").read_text())
    return found


def test_fp16_and_int8(node: Node, version: str) -> None:
    engine = node.engine("--max-batch-size", "16", "--max-input-len", "33")  # auto
    assert (engine.provider, engine.dtype, engine.weights_dtype, engine.kv_block_tokens) == ("tensorrt", "fp16", "fp16", 0)
    assert {"tensorrt": version, "gpu": "Fake GPU 0", "gpu_architecture": "sm90"}.items() <= engine.provider_versions.items()
    plan = plan_of(engine)
    shape = {"min": [1, 1], "opt": [8, 17], "max": [16, 33]}
    assert plan["shapes"] == {"input_ids": shape, "attention_mask": shape}
    assert (plan["strongly_typed"], plan["q"], plan["pools"]) == (True, 0, {"WORKSPACE": 35 << 30})
    assert engine.options["tensors"]["embedding"] == {"mode": "output", "datatype": "FLOAT", "dims": [-1, 32]}
    assert {path.name for path in engine.path.iterdir()} == {"engine.json", "model.plan", "tokenizer.json", "layers.json", "build.log"}
    assert [step.label for step in engine.build_steps] == ["export to ONNX, FP16", f"build by TensorRT {version}"]
    (timings,) = (node.root / "stub" / "cache" / "trtbench" / "tensorrt-timing").iterdir()
    assert timings.read_bytes() == b"timed "
    int8 = node.engine("--dtype", "int8", "--calibration-samples", "3", "--provider", "tensorrt")
    assert timings.read_bytes() == b"timed timed "  # what the first build timed was given to the second
    assert plan_of(int8)["q"] == plan_of(int8)["dq"] == 10 + 2 * 3  # of each weight, and of inputs; query, key and value share one
    assert int8.options["int8_layers"] == 10
    assert int8.options["max_input_len"] == 40  # the model's positions
    assert "from the cache" in node.build("--max-batch-size", "16", "--max-input-len", "33").stdout


@pytest.mark.parametrize(("version", "fails"), [("10.16.1.11", "parse"), ("11.4.0.106", "build")], indirect=["version"])
def test_what_tensorrt_refuses_is_reported(node: Node, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORRT_STUB_FAILS", fails)
    said = node.refusal()
    assert {"parse": "does not read model.onnx: MatMul /a/MatMul: error 0 of the parser", "build": "TensorRT built no plan"}[fails] in said
    assert not list((node.root / "built").iterdir())


def test_refusals(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "--provider", "tensorrt"
    assert "build.max_input_len = 41 is over the model's 40 positions" in node.refusal(*asked, "--max-input-len", "41")
    assert "plans of encoders are fp16 or int8, not fp8" in node.refusal(*asked, "--dtype", "fp8")
    assert "build.tp is of TensorRT-LLM's engines" in node.refusal(*asked, "--tp", "2")
    monkeypatch.setattr(provider, "find_spec", lambda name: None if name == "onnx" else find_spec(name))
    assert "not installed: onnx; run `pip install onnx`" in node.refusal(*asked)
    monkeypatch.undo()
    (node.checkpoint / "modules.json").write_text(json.dumps([{"path": "", "type": "sentence_transformers.models.Dense"}]))
    assert "how the checkpoint pools is not known" in TensorRtProvider().refusal(EngineSpec(model=str(node.checkpoint)))  # type: ignore[operator]


def test_a_decoder_is_refused() -> None:
    assert "encoders alone" in str(TensorRtProvider().refusal(EngineSpec(model="smollm2-135m")))


def test_volta_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_gpus", lambda: (cuda.CudaGpu("V100", 70, 1, 1),))
    assert "SM 75 (Turing) and newer, V100 is SM 70" in str(TensorRtProvider().refusal(EngineSpec(model=str(node.checkpoint))))
    monkeypatch.setattr(provider, "_gpus", lambda: (cuda.CudaGpu("T4", 75, 1, 1),))
    assert TensorRtProvider().refusal(EngineSpec(model=str(node.checkpoint))) is None


def test_unlike_gpus_are_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    two = tuple(cuda.CudaGpu(name, 90, 1, 1) for name in ("A", "B"))
    monkeypatch.setattr(provider, "_gpus", lambda: two)
    assert "one model of GPU, visible are A, B" in str(TensorRtProvider().refusal(EngineSpec(model=str(node.checkpoint))))


def test_another_major_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "tensorrt_version", lambda: "8.6.1")
    assert "TensorRT 8.6.1 is none of 10, 11" in str(TensorRtProvider().unavailable())
    monkeypatch.setenv("FAKE_CUDA_GPUS", "0")
    cuda.visible_gpus.cache_clear()
    monkeypatch.setattr(provider, "tensorrt_version", tensorrt_version)
    assert "CUDA shows no GPU" in str(TensorRtProvider().unavailable())
    shutil.rmtree(node.root / "stub")
    assert "package tensorrt is not installed" in str(TensorRtProvider().unavailable())


@pytest.mark.process
def test_without_a_driver() -> None:
    if cuda.visible_gpus():
        pytest.skip("this machine has a GPU")
    assert "no NVIDIA driver" in str(TensorRtProvider().unavailable())
    assert choose_provider("auto", "embed").name == "openvino"
    with pytest.raises(EngineError, match="provider tensorrt cannot run here: no NVIDIA driver"):
        choose_provider("tensorrt", "embed")


@pytest.mark.parametrize(
    ("build", "shapes"),
    [({}, ((1, 1), (16, 256), (32, 512))), ({"max_batch_size": 1, "max_input_len": 1}, ((1, 1), (1, 1), (1, 1)))],
)
def test_the_profile(build: dict[str, int], shapes: object) -> None:
    assert PlanLimits.foreseen(BuildOptions(**build), model_facts("minilm-l6-v2")).shapes == shapes


def test_the_stand_in_refuses_what_is_not_on_record() -> None:
    trt = SimpleNamespace(**members(11))
    with pytest.raises(AttributeError, match="FP16"):
        _ = trt.BuilderFlag.FP16
    with pytest.raises(AttributeError, match="has no max_workspace_size"):
        trt.IBuilderConfig().max_workspace_size = 1
    with pytest.raises(TypeError, match="set_shape takes no"):
        trt.IOptimizationProfile().set_shape("input_ids", (1, 1), (2, 2))
    assert "FP16" in members(10)["BuilderFlag"].__members__


GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "encoder-tensorrt.pbtxt"


def a_plan(path: Path, version: str = "10.16.1.11") -> Engine:
    found = encoder_engine(path)
    (path / "model.plan").write_bytes(b"plan")
    facts = vars(found) | {"provider": "tensorrt", "provider_versions": {"tensorrt": version}}
    return Engine(**facts | {"options": {"max_batch_size": 8, "max_input_len": 128}})


DEPLOYMENT = Deployment(
    max_batch_size=8,
    instances=2,
    dynamic_batching=DynamicBatching(preferred_batch_sizes=(4, 8), max_queue_delay_us=500),
    response_cache=LocalCache(kind="local", size_mb=1),
)


def test_the_repository_is_the_golden_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRT_VERSION", raising=False)
    repository = render(a_plan(tmp_path), DEPLOYMENT, Workload.model_validate({"input_tokens": 128, "output_tokens": 1}))
    assert repository.config == GOLDEN.read_text()
    config = text_format.Parse(repository.config, model_config_pb2.ModelConfig())
    assert (config.backend, config.platform, config.max_batch_size) == ("tensorrt", "tensorrt_plan", 8)
    assert [(group.count, group.kind, list(group.gpus)) for group in config.instance_group] == [(2, 1, [0])]
    assert not any(tensor.allow_ragged_batch for tensor in config.input) and config.response_cache.enable
    root = repository.write(tmp_path / "repository")
    assert (root / "minilm-l6-v2" / "1" / "model.plan").read_bytes() == b"plan"
    assert repository.longest_prompt_tokens == 128
    assert "a TensorRT plan is not reloaded here" in (RENDERERS["tensorrt"].no_reload(DEPLOYMENT) or "")


@pytest.mark.parametrize(
    ("deployment", "workload", "says"),
    [
        ({"max_batch_size": 9}, {}, "max_batch_size = 9 is over the plan's 8"),
        ({}, {"input_tokens": 129}, "workload.input_tokens = 129 is over the plan's 128 tokens"),
        ({"inference_threads": 2}, {}, "inference_threads = 2 is a setting of the CPU engine"),
    ],
)
def test_what_the_plan_cannot_do(tmp_path: Path, deployment: dict[str, int], workload: dict[str, int], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        render(a_plan(tmp_path), Deployment.model_validate(deployment), Workload.model_validate(workload))


def test_the_containers_tensorrt_must_be_the_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRT_VERSION", "10.16.1.11+cuda13.0")
    render(a_plan(tmp_path), Deployment(), Workload())
    monkeypatch.setenv("TRT_VERSION", "10.9.0.34")
    with pytest.raises(ScenarioError, match=r"cannot read a plan of TensorRT 10\.16\.1\.11: its own is 10\.9\.0\.34"):
        render(a_plan(tmp_path), Deployment(), Workload())


def test_another_tensorrt_than_tritons_is_refused_before_anything_is_built(
    node: Node, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the fourth number."""
    another = f"{version.rpartition('.')[0]}.999"
    monkeypatch.setenv("TRT_VERSION", another)
    said = node.refusal("--provider", "tensorrt")
    assert f"cannot read a plan of TensorRT {version}: its own is {another}" in said and f"install tensorrt {another}" in said
    assert not (node.root / "built").exists()


@pytest.mark.parametrize(
    ("built", "serves", "fits"),
    [
        ("10.14.1.48", "10.14.1.48+cuda13.0", True),
        ("10.14.1.48.post1", "10.14.1.48", True),
        ("10.14.1.48", "10.14.1.49", False),
        ("10.14.1.48", "10.14.1", True),  # what is not said is not judged
        ("11.4.0.106", "10.14.1.48", False),
        ("10.14.1.48", "unknown", True),
        ("10.14.1.48", "", True),
    ],
)
def test_four_numbers_decide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: str, serves: str, fits: bool) -> None:
    monkeypatch.setattr(runtime, "BACKEND", tmp_path / "none")
    monkeypatch.setenv("TRT_VERSION", serves)
    assert (other_version(built) is None) == fits


@pytest.mark.process
def test_without_the_variable_the_backends_library_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for libnvinfer; test_real_tensorrt.py asks a real one."""
    parts = enumerate(("Major", "Minor", "Patch", "Build"), 7)
    functions = "".join(f"int getInferLib{part}Version(void) {{ return {number}; }}\n" for number, part in parts)
    (tmp_path / "nvinfer.c").write_text(functions)
    library = tmp_path / "libnvinfer.so.10"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvinfer.c")], check=True, timeout=60)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.delenv("TRT_VERSION", raising=False)
    monkeypatch.setattr(runtime, "BACKEND", library)
    runtime._library_version.cache_clear()
    assert runtime.served_version() == "7.8.9.10"
    monkeypatch.setattr(runtime, "BACKEND", tmp_path / "none")
    assert runtime.served_version() is None
    monkeypatch.setattr(runtime, "BACKEND", library)
    library.write_bytes(b"no library")
    runtime._library_version.cache_clear()
    assert runtime.served_version() is None
    runtime._library_version.cache_clear()


def test_a_triton_without_the_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_tritonserver", lambda: SimpleNamespace(source="PATH", backends=tmp_path))
    with pytest.raises(ScenarioError, match=r"has no .*libtriton_tensorrt\.so: run in NVIDIA's Triton container"):
        serving.check_installed(Deployment())
