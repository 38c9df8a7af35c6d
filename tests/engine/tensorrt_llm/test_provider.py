"""The whole of `trtbench build` on TensorRT-LLM's stand-ins: the CUDA driver of fake_cuda.c, the package and the programs of contracts/."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from tests.contracts.stub import UNWRITABLE, environment, write_stub
from tests.engine.test_checkpoint_files import write_safetensors
from trtbench.cli import main
from trtbench.engine.spec import Engine
from trtbench.engine.tensorrt_llm import provider
from trtbench.engine.tensorrt_llm.build import ERROR_FILE, STATS_FILE
from trtbench.engine.tensorrt_llm.execution import RUNTIME_ERROR_FILE, STEPS_FILE
from trtbench.system import cuda
from trtbench.system.memory import MemoryBound

pytestmark = pytest.mark.timeout(120)

SOURCE = Path(__file__).parents[1] / "fake_cuda.c"


@pytest.fixture(scope="session")
def fake_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fake-cuda")
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(directory / "libcuda.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return directory


@dataclass
class Node:
    """A machine with a GPU and a TensorRT-LLM, of stand-ins."""

    root: Path
    checkpoint: Path
    patch: pytest.MonkeyPatch

    def build(self, *flags: str, **variables: str) -> Result:
        cuda.visible_gpus.cache_clear()
        with self.patch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return CliRunner().invoke(main.main, ["build", str(self.checkpoint), "--output", str(self.root / "built"), *flags])

    def engine(self, *flags: str, **variables: str) -> Engine:
        done = self.build(*flags, **variables)
        assert done.exit_code == 0, done.output
        return Engine.load(Path(done.stdout.splitlines()[0]))

    def refusal(self, *flags: str, **variables: str) -> str:
        done = self.build(*flags, **variables)
        assert done.exit_code == 2, done.output
        assert not self.records()
        return done.stderr

    def records(self) -> list[dict[str, Any]]:
        path = self.root / "stub" / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def node(tmp_path: Path, checkpoint: Path, fake_cuda: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    config = json.loads((checkpoint / "config.json").read_text()) | {"architectures": ["LlamaForCausalLM"]}
    (checkpoint / "config.json").write_text(json.dumps(config))
    write_safetensors(checkpoint / "model.safetensors", {"a.weight": [10, 100]})
    write_stub(tmp_path / "stub", "1.2", "1.2.1")
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    for name, value in (environment(tmp_path / "stub") | {"LD_LIBRARY_PATH": str(fake_cuda)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(provider, "ctypes", SimpleNamespace(CDLL=lambda name: None))  # the loader read LD_LIBRARY_PATH at our start
    monkeypatch.chdir(UNWRITABLE)
    monkeypatch.setattr(provider, "memory_bounds", lambda: (MemoryBound("machine", 64 << 30, 64 << 30),))
    yield Node(tmp_path, checkpoint, monkeypatch)
    cuda.visible_gpus.cache_clear()


def test_the_names_of_the_steps_file_agree() -> None:
    assert (STATS_FILE, ERROR_FILE) == (STEPS_FILE, RUNTIME_ERROR_FILE)  # the child that writes it is not imported by the one that reads it


def test_one_gpu_goes_through_the_llm_api(node: Node) -> None:
    engine = node.engine(
        "--max-batch-size", "64", "--max-seq-len", "512", "--kv-block-tokens", "64", "--plugin", "multiple_profiles=enable"
    )
    assert engine.provider == "tensorrt_llm"
    assert engine.provider_versions == {
        "tensorrt_llm": "1.2.1",
        "tensorrt": "10.14.1.48",
        "gpu": "Fake GPU 0",
        "gpu_architecture": "sm90",
    }
    assert (engine.dtype, engine.weights_dtype, engine.kv_dtype, engine.kv_block_tokens, engine.size_bytes) == (
        "fp16",
        "fp16",
        "fp16",
        64,
        4096,
    )
    assert engine.options["route"] == "llm_api"
    assert engine.options["limits"]["max_batch_size"] == 64
    assert engine.options["llm_api_steps"] == [["Loading HF model to memory", 1.5], ["Building TRT-LLM engine", 30.25]]
    (step,) = engine.build_steps
    assert step.label == "build by TensorRT-LLM 1.2.1's LLM API (fp16)"
    (made,) = node.records()
    assert made["plugin_config"].items() >= {"gemm_plugin": "auto", "multiple_profiles": True, "tokens_per_block": 64}.items()
    assert made["variables"] == {"TLLM_LOG_LEVEL": "INFO", "TLLM_WORKER_USE_SINGLE_PROCESS": "1"}
    assert made["kv_cache_config"]["free_gpu_memory_fraction"] == 0.1
    assert engine.options["peak_gpu_bytes"] == 1385 * 2**20
    assert "TLLM_LOG_LEVEL" not in os.environ
    again = node.build(
        "--quiet", "--max-batch-size", "64", "--max-seq-len", "512", "--kv-block-tokens", "64", "--plugin", "multiple_profiles=enable"
    )
    assert "from the cache: nothing was built" in again.stdout
    assert (engine.path / "tokenizer.json").is_file()
    assert (engine.path / "build.log").is_file()


def test_a_runtime_that_cannot_start_costs_no_engine(node: Node) -> None:
    engine = node.engine(TRTLLM_STUB_FAILS="runtime")
    assert engine.options["runtime_error"] == "RuntimeError: CUDA out of memory while the executor starts"
    assert (engine.path / "rank0.engine").is_file()
    assert "Traceback" in (engine.path / "build.log").read_text()


def test_int8_smoothquant_on_two_gpus_goes_through_the_programs_and_calibrates_on_our_texts(node: Node) -> None:
    engine = node.engine("--dtype", "int8-sq", "--tp", "2", "--kv-dtype", "int8")
    quantised, built = node.records()
    assert (quantised["program"], quantised["qformat"], quantised["kv_cache_dtype"], quantised["tp_size"]) == (
        "quantize.py",
        "int8_sq",
        "int8",
        2,
    )
    assert quantised["calib_size"] > 100
    assert (built["program"], built["workers"]) == ("trtllm-build", 2)
    assert (engine.dtype, engine.weights_dtype, engine.kv_dtype, engine.options["tp"]) == ("int8-sq", "int8", "int8", 2)
    assert engine.options["paged_context_fmha"] is False
    assert engine.options["rank_bytes"] == [4096, 4096]
    assert engine.options["peak_gpu_bytes"] == 1385 * 2**20
    assert [step["label"] for step in engine.options["log_steps"]][-1] == "build engines, total"
    assert [step.label.split(" (")[0] for step in engine.build_steps] == ["make a TensorRT-LLM checkpoint", "trtllm-build 1.2.1"]


def test_a_build_that_failed_goes_on_after_the_quantisation(node: Node) -> None:
    flags = ("--dtype", "int8-sq", "--route", "trtllm_build")
    failed = node.build(*flags, TRTLLM_STUB_FAILS="trtllm-build")
    assert failed.exit_code == 2
    assert "trtllm-build --checkpoint_dir" in failed.stderr
    assert "torch.OutOfMemoryError: CUDA out of memory" in failed.stderr
    (kept,) = (node.root / "stub" / "cache" / "trtbench" / "build-logs").iterdir()
    assert str(kept) in failed.stderr
    assert not list((node.root / "built").iterdir())
    engine = node.engine(*flags, "--max-batch-size", "8")
    assert [one["program"] for one in node.records()] == ["quantize.py", "trtllm-build", "trtllm-build"]
    assert engine.options["limits"]["max_batch_size"] == 8
    node.engine(*flags, "--max-batch-size", "8", "--smoothquant", "plugin")
    assert [one["program"] for one in node.records()][3:] == ["convert_checkpoint.py(llama)", "trtllm-build"]


def test_the_log_of_a_build_that_failed_is_not_in_the_next_ones(node: Node) -> None:
    """Both have one process id, as in a container."""
    flags = ("--dtype", "int8-sq", "--route", "trtllm_build")
    assert node.build(*flags, TRTLLM_STUB_FAILS="trtllm-build").exit_code == 2
    engine = node.engine(*flags)
    assert "OutOfMemoryError" not in (engine.path / "build.log").read_text()
    assert "quantise" not in [step["label"] for step in engine.options["log_steps"]]  # that checkpoint was there


def test_a_failed_conversion_leaves_no_checkpoint(node: Node) -> None:
    assert node.build("--route", "trtllm_build", TRTLLM_STUB_FAILS="convert_checkpoint.py(llama)").exit_code == 2
    assert not list((node.root / "stub" / "cache" / "trtbench" / "trtllm-checkpoints").iterdir())


def test_dummy_weights_need_no_weights(node: Node) -> None:
    (node.checkpoint / "model.safetensors").unlink()
    assert node.engine("--dummy-weights").options["asked"] == {"dummy_weights": True}
    assert node.records()[0]["load_format"] == "dummy"
    node.engine("--dummy-weights", "--tp", "2")
    converted, built = node.records()[1:]
    assert converted["save_config_only"] is True
    assert built["model_config"].endswith("config.json")


@pytest.mark.parametrize(
    ("flags", "variables", "says"),
    [
        (("--dtype", "int8"), {"FAKE_CUDA_SM": "100"}, "cannot build .* int8: int8: TensorRT-LLM refuses INT8 on Fake GPU 0"),
        (("--dtype", "fp8"), {"FAKE_CUDA_SM": "86"}, r"fp8: Fake GPU 0 \(SM 86\) has no FP8"),
        ((), {"FAKE_CUDA_SM": "75"}, r"Fake GPU 0 is SM 75, TensorRT-LLM begins with SM 80 \(Ampere\)"),
        ((), {"FAKE_CUDA_GPUS": "0"}, "CUDA shows no GPU; check CUDA_VISIBLE_DEVICES"),
        ((), {"FAKE_CUDA_FAILS": "cuInit"}, r"CUDA does not start: cuInit failed \(CUresult 999\): unknown to CUDA; see `dmesg`"),
        ((), {"FAKE_CUDA_FAILS": "cuInit", "FAKE_CUDA_CODE": "802"}, "the system is not ready; .* start nvidia-fabricmanager"),
        ((), {"FAKE_CUDA_FAILS": "cuInit", "FAKE_CUDA_CODE": "803"}, "libcuda and the kernel's driver differ in version"),
        ((), {"FAKE_CUDA_FAILS": "cuInit", "FAKE_CUDA_CODE": "1"}, r"cuInit failed \(CUresult 1\); see `dmesg`"),
        ((), {"FAKE_CUDA_FAILS": "cuDevicePrimaryCtxRetain", "FAKE_CUDA_CODE": "46"}, "another process holds the GPU alone"),
        ((), {"FAKE_CUDA_GPUS": "2", "FAKE_CUDA_UNLIKE": "1"}, "one model of GPU, visible are Fake GPU 0, Fake GPU 1; choose with"),
        ((), {"FAKE_CUDA_FREE_GIB": "1"}, r"takes about 2\.0 GiB of GPU memory a rank, 1\.0 GiB are free"),
        (("--tp", "2"), {"TRTLLM_EXAMPLES": "/nowhere"}, "TRTLLM_EXAMPLES"),
        (("--kv-dtype", "int8", "--paged-context-fmha"), {}, "no KV reuse, no chunked prefill"),
        (("--plugin", "gemm_plugin"), {}, "write NAME=VALUE"),
        (("--max-input-len", "9", "--max-seq-len", "8"), {}, r"max_input_len \(9\) goes over max_seq_len"),
    ],
)  # fmt: skip
def test_refusals_before_anything_is_spent(node: Node, flags: tuple[str, ...], variables: dict[str, str], says: str) -> None:
    assert re.search(says, node.refusal("--provider", "tensorrt_llm", *flags, **variables))


def test_an_engine_that_is_there_needs_no_memory_to_build(node: Node) -> None:
    node.engine()
    again = node.build("--quiet", FAKE_CUDA_FREE_GIB="1")
    assert "from the cache: nothing was built" in again.stdout


def test_a_version_without_engines_leads_to_the_llm_api(node: Node, tmp_path: Path) -> None:
    (tmp_path / "stub" / "tensorrt_llm-1.2.1.dist-info").rename(tmp_path / "stub" / "tensorrt_llm-1.3.0.dist-info")
    metadata = tmp_path / "stub" / "tensorrt_llm-1.3.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2.1", "1.3.0"))
    assert "no TensorRT engines any more" in node.refusal("--provider", "tensorrt_llm")
    engine = node.engine()
    assert (engine.provider, engine.provider_versions) == ("llmapi", {"tensorrt_llm": "1.3.0"})
    assert engine.options["checkpoint"] == str(node.checkpoint)
    assert engine.options["parameters"] == 1000
    assert engine.size_bytes == (node.checkpoint / "model.safetensors").stat().st_size
    assert {path.name for path in engine.path.iterdir()} == {"engine.json", "tokenizer.json"}
    assert "the checkpoint is not quantised (fp16, says config.json), asked is int8" in node.refusal("--dtype", "int8")
    assert "Fake GPU 0 is SM 75, TensorRT-LLM begins with SM 80" in node.refusal("--provider", "llmapi", FAKE_CUDA_SM="75")
    assert "build.plugins is of TensorRT engines" in node.refusal("--plugin", "gemm_plugin=auto")
    (node.checkpoint / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}))
    served = node.engine("--dtype", "fp8")
    assert (served.weights_dtype, served.kv_dtype, served.options["quantised_by"]) == ("fp8", "fp8", "hf_quant_config.json")


@pytest.mark.parametrize("provider", ["tensorrt_llm", "llmapi"])
def test_no_provider_serves_on_a_cuda_that_does_not_start(node: Node, provider: str) -> None:
    said = node.refusal("--provider", provider, FAKE_CUDA_FAILS="cuInit", FAKE_CUDA_CODE="802")
    assert f"provider {provider} cannot run here: CUDA does not start: cuInit failed (CUresult 802)" in said


def test_a_name_that_the_installed_version_lacks_ends_the_build(node: Node) -> None:
    """As with a 1.2.x whose BuildConfig is not the one on record."""
    page = node.root / "stub" / "tensorrt_llm" / "llmapi" / "__init__.py"
    page.write_text(page.read_text() + "\ndel BuildConfig.model_fields['max_num_tokens']\n")
    done = node.build("--max-num-tokens", "64")
    assert done.exit_code == 2
    assert "BuildConfig of TensorRT-LLM 1.2.1 has no max_num_tokens" in done.stderr


def test_a_dry_run_shows_the_memory_and_builds_nothing(node: Node) -> None:
    done = node.build("--dry-run")
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if line.startswith("│ build fp16 "))
    assert [cell.strip() for cell in row.split("│")[5:8]] == ["2.0", "70.0", "0.0"]
    short = node.build("--dry-run", FAKE_CUDA_FREE_GIB="1")
    assert short.exit_code == 0
    assert "fp16 would be refused, unless the engine is built already: the build of" in short.stdout
    assert not node.records() and not (node.root / "built").exists()


def test_a_dry_run_of_a_scenario_shows_what_its_servers_take(node: Node) -> None:
    cuda.visible_gpus.cache_clear()
    facts = (
        "provider=tensorrt_llm",
        f"model={node.checkpoint}",
        "engines=[fp16]",
        "deployments={default: {}}",
        "workload.input_tokens=16",
        "workload.output_tokens=16",
    )
    done = CliRunner().invoke(main.main, ["serve-and-bench", "quickstart", "--dry-run", *(w for fact in facts for w in ("--set", fact))])
    assert done.exit_code == 0, done.output
    assert "│ build fp16 " in done.stdout and "│ serve default-fp16 " in done.stdout


def _uuid(index: int) -> str:
    return str(UUID(bytes=bytes([index] * 16)))


@pytest.mark.process
def test_what_the_driver_says_of_each_gpu(fake_cuda: Path) -> None:
    command = [sys.executable, "-m", "trtbench.system.cuda"]

    def ask(**variables: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"LD_LIBRARY_PATH": str(fake_cuda)} | variables
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    gpus = [cuda.CudaGpu(**gpu) for gpu in json.loads(ask(FAKE_CUDA_GPUS="2", FAKE_CUDA_SM="103", FAKE_CUDA_UNLIKE="1").stdout)]
    assert gpus == [cuda.CudaGpu(f"Fake GPU {index}", 103, 80 << 30, 70 << 30, _uuid(index)) for index in range(2)]
    for call in ("cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuMemGetInfo_v2", "cuDeviceGetName", "cuDeviceGetUuid_v2"):
        failed = ask(FAKE_CUDA_FAILS=call)
        assert failed.returncode == 1
        assert f"{call} failed (CUresult 999)" in failed.stderr


@pytest.mark.process
def test_no_driver_is_no_gpu() -> None:
    if cuda.visible_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(cuda.CudaError, match=r"libcuda\.so\.1"):
        cuda.ask_driver()
