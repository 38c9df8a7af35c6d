"""Encoders on NVIDIA's own ONNX parser and builder, which need no driver: what a GPU would be the first to refuse is refused here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.contracts.stub import UNWRITABLE, environment
from tests.support.engines.encoders import write_encoder

onnx = pytest.importorskip("onnx")
for package in ("onnxruntime", "torch", "transformers"):
    if not find_spec(package):
        pytest.skip(f"not installed: {package}", allow_module_level=True)

from trtbench.engine.build import build_engine  # noqa: E402
from trtbench.engine.checkpoint import first_position  # noqa: E402
from trtbench.engine.spec import BuildLog, EngineSpec  # noqa: E402
from trtbench.engine.tensorrt import encoder_int8, provider  # noqa: E402
from trtbench.engine.tensorrt.provider import TensorRtProvider  # noqa: E402
from trtbench.scenario.deployment.build_options import BuildOptions  # noqa: E402
from trtbench.system.cuda import CudaGpu  # noqa: E402

pytestmark = [pytest.mark.tensorrt, pytest.mark.timeout(240)]

VERSION = "11.4.0.106"
FAMILIES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert", "mpnet")
SAMPLES = [[1, 5, 9, 13], [2, 4, 8]]
PAGE = "import sys\n\nimport tests.contracts.real_tensorrt\n\nsys.modules[__name__] = tests.contracts.real_tensorrt\n"


@pytest.fixture(scope="session")
def real_tensorrt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of children that import `tensorrt`: NVIDIA's parser and builder, and a stand-in that reads plans back."""
    command = [str(ROOT / "scripts" / "fetch_tensorrt.sh")]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, timeout=230, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    place, package = Path(done.stdout.strip()), tmp_path_factory.mktemp("tensorrt")
    metadata = f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {VERSION}\n"
    for path, text in ((f"tensorrt-{VERSION}.dist-info/METADATA", metadata), ("tensorrt/__init__.py", PAGE)):
        (package / path).parent.mkdir()
        (package / path).write_text(text)
    variables = environment(package)
    variables["PYTHONPATH"] += os.pathsep + str(place / "py")
    return variables | {"LD_LIBRARY_PATH": str(place / "lib"), "PLACE": str(package)}


@dataclass(frozen=True)
class Built:
    code: int
    log: str
    plan_bytes: int
    facts: dict[str, Any]
    layers: list[dict[str, Any]]

    def kinds(self) -> Counter[str]:
        return Counter(layer["type"] for layer in self.layers)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [layer for layer in self.layers if layer["type"] == kind]


Build = Callable[..., Built]


@pytest.fixture
def build(real_tensorrt: dict[str, str], tmp_path: Path) -> Build:
    """Run the child step of a build on an ONNX file."""

    def run(source: Path, timings: Path | None = None, **changes: Any) -> Built:
        paths = {"output": "out.plan", "layers": "layers.json", "facts": "facts.json"}
        plan = {key: str(tmp_path / name) for key, name in paths.items()} | {
            "onnx": str(source),
            "inputs": ["input_ids", "attention_mask"],
            "shapes": ((1, 1), (4, 20), (8, 40)),
            "workspace_bytes": 1 << 30,
            "timing_cache": str(timings or tmp_path / "timings.cache"),
        }
        (tmp_path / "plan.json").write_text(json.dumps(plan | changes))
        command = [sys.executable, "-m", "trtbench.engine.tensorrt.build", str(tmp_path / "plan.json")]
        done = subprocess.run(
            command, env=os.environ | real_tensorrt, cwd=UNWRITABLE, capture_output=True, text=True, timeout=200, check=False
        )
        log = done.stdout + done.stderr
        if done.returncode:
            return Built(done.returncode, log, 0, {}, [])
        output, layers, facts = (tmp_path / name for name in paths.values())
        described = json.loads(layers.read_text())["Layers"]
        return Built(0, log, output.stat().st_size, json.loads(facts.read_text()), described)

    return run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The FP16 ONNX of a family, exported in this process: torch is imported once."""

    from trtbench.engine.tensorrt import encoder_onnx  # with torch: 4 s, which only the process that runs this spends

    @cache
    def export(family: str) -> Path:
        directory = tmp_path_factory.mktemp(family)
        checkpoint = write_encoder(directory / "checkpoint", family)
        encoder_onnx.write(encoder_onnx.load(checkpoint, first_position(checkpoint)), directory / "fp16.onnx")
        return directory / "fp16.onnx"

    return export


def check_ends(built: Built) -> None:
    tensors = {name: (one["mode"], one["datatype"], one["dims"]) for name, one in built.facts["tensors"].items()}
    ids = ("input", "INT32", [-1, -1])
    assert tensors == {"input_ids": ids, "attention_mask": ids, "embedding": ("output", "FLOAT", [-1, 32])}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_parsed_and_built_in_both_precisions(family: str, build: Build, exported: Callable[[str], Path]) -> None:
    source = exported(family)
    fp16 = build(source)
    assert fp16.code == 0, fp16.log
    check_ends(fp16)
    assert fp16.plan_bytes > 10_000
    assert fp16.kinds()["QUANTIZE"] == fp16.kinds()["DEQUANTIZE"] == 0
    assert {kind for layer in fp16.of("MATRIX_MULTIPLY") for _, kind in layer["inputs"] + layer["outputs"]} == {"HALF"}
    quantised = source.with_name("int8.onnx")
    layers = encoder_int8.quantise(source, quantised, SAMPLES)
    int8 = build(quantised)
    assert int8.code == 0, int8.log
    check_ends(int8)
    check_quantised(int8, layers)


def check_quantised(built: Built, layers: int) -> None:
    """As many matrix multiplications as were quantised read INT8 on both sides, through a Q/DQ pair each, and answer in FP16."""
    maker = {name: layer for layer in built.layers for name, _ in layer["outputs"]}
    read_int8 = [
        layer
        for layer in built.of("MATRIX_MULTIPLY")
        if all(maker[name]["type"] == "DEQUANTIZE" for name, _ in through_shuffles(layer["inputs"], maker))
    ]
    assert len(read_int8) == layers > 0
    assert {kind for layer in built.of("DEQUANTIZE") for _, kind in layer["inputs"][:1]} == {"INT8"}
    assert {kind for layer in read_int8 for _, kind in layer["outputs"]} == {"HALF"}
    assert built.kinds()["QUANTIZE"] == built.kinds()["DEQUANTIZE"] > layers  # of each weight, and of inputs, which layers may share


def through_shuffles(tensors: list[Any], maker: dict[str, Any]) -> list[Any]:
    """The tensors that reach a layer, before they were reshaped or transposed."""
    return [
        through_shuffles(maker[tensor[0]]["inputs"][:1], maker)[0] if maker[tensor[0]]["type"] == "SHUFFLE" else tensor
        for tensor in tensors
    ]


def test_the_whole_build_of_the_provider(real_tensorrt: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in real_tensorrt.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([real_tensorrt["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    monkeypatch.syspath_prepend(real_tensorrt["PLACE"])
    monkeypatch.setattr(TensorRtProvider, "unavailable", lambda self: None)
    monkeypatch.setattr(provider, "_gpus", lambda: (CudaGpu("Tesla T4", 75, 14 << 30, 15 << 30),))
    options = BuildOptions(calibration_samples=2)
    spec = EngineSpec(model=str(write_encoder(tmp_path / "checkpoint")), dtype="int8", provider="tensorrt", build=options)
    engine = build_engine(spec, tmp_path / "built", BuildLog(lambda step: None)).engine
    assert engine.provider_versions["tensorrt"] == VERSION
    assert engine.options["int8_layers"] == 10
    assert engine.size_bytes == (engine.path / "model.plan").stat().st_size > 10_000
    assert {path.name for path in engine.path.iterdir()} == {"engine.json", "model.plan", "tokenizer.json", "layers.json", "build.log"}
    assert "Engine generation completed" in (engine.path / "build.log").read_text()
    assert [path.name for path in (tmp_path / "built").iterdir()] == [engine.path.name]


def test_a_plan_that_cannot_be_read_back_is_none(build: Build, exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's own runtime answers so where no driver is."""
    monkeypatch.setenv("REAL_TENSORRT_READS", "nothing")
    built = build(exported("bert"))
    assert (built.code, built.log.splitlines()[-1]) == (1, "the plan that was built cannot be read back")


def test_the_version_of_a_real_library_is_read(real_tensorrt: dict[str, str]) -> None:
    """By its own functions; they are TensorRT-RTX's numbers, which has others than the bindings."""
    command, variables = [sys.executable, "-m", "trtbench.engine.tensorrt.runtime"], os.environ | real_tensorrt
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(r"1\.7\.1\.\d+", done.stdout.strip())


def altered(source: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(source)
    change(model.graph)
    onnx.save(model, source.with_name("altered.onnx"))
    return source.with_name("altered.onnx")


def unknown_operator(graph: Any) -> None:
    next(node for node in graph.node if node.op_type == "MatMul").op_type = "NoSuchOperator"


def mixed_types(graph: Any) -> None:
    """FP16 times FP32: a weakly typed network would cast it."""
    weights = next(tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT16)
    values = onnx.numpy_helper.to_array(weights).astype("float32")
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unknown_operator, "NoSuchOperator /model/encoder/layer.0/attention/self/query/MatMul: .*Plugin not found"),
        (mixed_types, "Add /model/embeddings/Add: (.|\n)*must have same input types. But they are of types Float and Half"),
    ],
)
def test_a_graph_that_must_fail_does(build: Build, exported: Callable[[str], Path], change: Callable[[Any], None], says: str) -> None:
    built = build(altered(exported("bert"), change))
    assert built.code == 1
    assert re.search(f"TensorRT {VERSION} does not read altered.onnx: {says}", built.log), built.log


def test_no_profile_for_an_input_is_no_plan(build: Build, exported: Callable[[str], Path]) -> None:
    built = build(exported("bert"), inputs=["input_ids"])
    assert built.code == 1
    assert built.log.splitlines()[-1] == "TensorRT built no plan; its log above gives the reason"


def test_a_timing_cache_that_is_of_no_use_costs_no_plan(build: Build, exported: Callable[[str], Path], tmp_path: Path) -> None:
    source, kept = exported("bert"), tmp_path / "kept.cache"
    kept.write_bytes(b"torn " * 100)
    assert build(source, kept).code == 0
    assert not kept.read_bytes().startswith(b"torn")
    unwritable = build(source, UNWRITABLE / "trtbench" / "timings.cache")
    assert unwritable.code == 0
    assert "timings.cache is not kept" in unwritable.log
