"""The recorder against the stand-in: what was made from a contract is recorded as that contract."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import tests.contracts.contract
from tests.contracts.contract import contract, fields, from_packages, llm_keywords
from tests.contracts.stub import write_stub

ROOT = Path(__file__).parents[3]
SERVER_FLAGS = json.loads((ROOT / "tests" / "contracts" / "tritonserver_2.51.0.json").read_text())["cli"]["tritonserver"]
ORCHESTRATOR = {"--allow-run-as-root", "--bind-to", "--oversubscribe"}  # mpirun's own

PROGRAM = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--dtype", choices=["auto", "float16"], default="auto")
parser.add_argument("--size", "-s", type=int, default=512)
parser.add_argument("--fast", action="store_true")
arguments = parser.parse_args()
raise AssertionError("the program went on")
"""


@pytest.fixture(scope="module")
def recorder() -> Any:
    sys.path.insert(0, str(ROOT / "scripts"))  # where it finds its other half, as it does when it is run
    spec = importlib.util.spec_from_file_location("record_contract", ROOT / "scripts" / "record_contract.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["record_contract"] = module  # its dataclass looks there for its annotations
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def places(recorder: Any, root: Path) -> Any:
    return recorder.Places(root / "all_models", root / "scripts" / "launch_triton_server.py", root / "triton")


@pytest.mark.process
@pytest.mark.parametrize(("name", "version"), [("1.0", "1.0.1"), ("1.2", "1.2.1")])
def test_the_stand_in_is_recorded_as_its_contract(
    recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    write_stub(tmp_path, name, version)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(recorder.CLASSES, "GoneConfig", ("tensorrt_llm.llmapi",))
    for module in [module for module in sys.modules if module.split(".")[0] == "tensorrt_llm"]:
        monkeypatch.delitem(sys.modules, module)
    new = recorder.record(version, places(recorder, tmp_path))
    for module in [module for module in sys.modules if module.split(".")[0] == "tensorrt_llm"]:
        del sys.modules[module]
    for kind in ("BuildConfig", "PluginConfig", "QuantConfig", "CalibConfig"):
        assert set(new["classes"][kind]["fields"]) == set(fields(name, kind))
    assert list(recorder.differences(contract(name), new)) == []
    assert any(one.startswith("GoneConfig: ") for one in new["unknown"])
    (tmp_path / f"tensorrt_llm_{version}.json").write_text(json.dumps(new))
    monkeypatch.setattr(tests.contracts.contract, "HERE", tmp_path)
    assert from_packages(name) == (version,)  # tests find it by themselves
    assert llm_keywords(version) == set(new["classes"]["TrtLlmArgs"]["fields"])
    assert fields(version, "BuildConfig") == new["classes"]["BuildConfig"]["fields"]
    with pytest.raises(KeyError):
        fields(version, "GoneConfig")


def test_a_program_is_asked_for_its_flags_and_not_run(recorder: Any, tmp_path: Path) -> None:
    program = tmp_path / "convert.py"
    program.write_text(PROGRAM)
    assert recorder.parser_facts(recorder.parser_of(program)) == {
        "--dtype": {"type": "str", "choices": ["auto", "float16"], "default": "auto"},
        "--size": {"type": "int", "choices": None, "default": 512, "aliases": ["-s"]},
        "--fast": {"type": "flag", "choices": None, "default": False},
    }
    program.write_text("print('no parser')")
    with pytest.raises(ValueError, match="reads no command line"):
        recorder.parser_of(program)


def test_differences_are_of_names_choices_and_members(recorder: Any) -> None:
    old = {
        "classes": {"C": {"fields": {"a": {}, "b": {}}}, "Only": {"fields": {"x": {}}}},
        "cli": {"p": {"--a": {"choices": ["x"]}}},
        "enums": {"E": ["A", "B"]},
    }
    new = {"classes": {"C": {"fields": {"b": {}, "c": {}}}}, "cli": {"p": {"--a": {"choices": ["x", "y"]}}}, "enums": {"E": ["B", "D"]}}
    assert list(recorder.differences(old, new)) == [
        "classes.C: a is gone",
        "classes.C: c is new",
        "cli.p: --a takes ['x', 'y'], was ['x']",
        "enums.E: A is gone",
        "enums.E: D is new",
    ]
    assert list(recorder.differences(old, old)) == []


TEMPLATE = """# as NVIDIA's are: no protobuf text before they are filled in
name: "tensorrt_llm"
backend: "${triton_backend}"
max_batch_size: ${triton_max_batch_size}
model_transaction_policy { decoupled: ${decoupled_mode} }
dynamic_batching { preferred_batch_size: [ ${triton_max_batch_size} ] }
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] allow_ragged_batch: true optional: true },
  { name: "input_lengths" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } }
]
output [ { name: "output_ids" data_type: TYPE_INT32 dims: [ -1, -1 ] } ]
parameters: { key: "gpt_model_type" value: { string_value: "${batching_strategy}" } }
"""
LIBRARY = b"\0nv_trt_llm_request_metrics\0nv_trt_llm_\0nv_llm_output_token_len\0"
PAGE = """# HELP nv_trt_llm_request_metrics x
nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 3
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 8
nv_llm_output_token_len_sum{model="m",response_metric_type="total_output_tokens",version="1"} 9
"""


@pytest.mark.process
def test_the_triton_side_of_a_container_is_recorded(recorder: Any, tmp_path: Path) -> None:
    """A directory laid out as the container's; the server's help is the real one's form."""
    found = places(recorder, tmp_path)
    template = found.all_models / "inflight_batcher_llm" / "tensorrt_llm" / "config.pbtxt"
    template.parent.mkdir(parents=True)
    template.write_text(TEMPLATE)
    found.launcher.parent.mkdir()
    found.launcher.write_text(PROGRAM)
    server = found.triton / "bin" / "tritonserver"
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\ncat <<END\nUsage:\n  --model-repository <string>\n\tPath.\n  --help\n\tThis.\nEND\nexit 1\n")
    server.chmod(0o755)
    library = found.triton / "backends" / "tensorrtllm" / "libtriton_tensorrtllm.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(LIBRARY)
    unknown: list[str] = []
    cli = dict(recorder._of_triton(found, unknown))
    assert set(cli["launch_triton_server.py"]) == {"--dtype", "--size", "--fast"}
    assert {name: facts["type"] for name, facts in cli["tritonserver"].items()} == {"--model-repository": "string", "--help": "flag"}
    models = dict(recorder.record_triton.models(found.all_models, unknown))
    (model,) = models.values()
    assert [one["name"] for one in model["inputs"]] == ["input_ids", "input_lengths"]
    assert model["inputs"][0]["optional"] and model["inputs"][0]["allow_ragged_batch"] and model["inputs"][1]["reshape"] == []
    assert model["outputs"][0]["dims"] == [-1, -1] and model["dynamic_batching"] and model["decoupled"] == "${decoupled_mode}"
    assert model["parameters"] == [{"key": "gpt_model_type", "value": "${batching_strategy}"}]
    assert model["template_keys"] == ["batching_strategy", "decoupled_mode", "triton_backend", "triton_max_batch_size"]
    assert set(recorder._families(found, None, unknown)) == {"nv_trt_llm_request_metrics", "nv_llm_output_token_len"}
    assert len(unknown) == 6  # five templates that are not there, and the labels of the families


def test_families_of_a_page(recorder: Any) -> None:
    assert recorder.record_triton.page_families(PAGE) == {
        "nv_trt_llm_request_metrics": {"label": "request_type", "values": ["active", "max"]},
        "nv_llm_output_token_len": {"label": "response_metric_type", "values": ["total_output_tokens"]},
    }


def test_an_arguments_class_is_compared_with_its_bases_fields(recorder: Any) -> None:
    args: dict[str, Any] = {"fields": {"own": {}}}
    old = {"classes": {"TrtLlmArgs": args}, "effective_keywords": {"TrtLlmArgs": ["own", "base", "maybe"]}}
    old["effective_keywords_in_both_texts"] = {"TrtLlmArgs": ["own", "base"]}
    new = {"classes": {"TrtLlmArgs": {"fields": {"own": {}, "added": {}}}}, "cli": {}, "enums": {}}
    assert list(recorder.differences(old, new)) == ["classes.TrtLlmArgs: base is gone", "classes.TrtLlmArgs: added is new"]


@pytest.mark.parametrize("text", ["input [ {", "a: $", "a } "])
def test_a_template_that_is_none_is_refused(recorder: Any, text: str) -> None:
    with pytest.raises(ValueError):
        recorder.record_triton.model_facts(text)


def test_differences_of_models_and_families(recorder: Any) -> None:
    def tree(dims: list[int], values: list[str]) -> dict[str, Any]:
        tensor = {"name": "t", "data_type": "TYPE_INT32", "dims": dims, "optional": False}
        model = {"inputs": [tensor], "outputs": [], "parameters": [{"key": "k", "value": ""}]}
        return {"classes": {}, "cli": {}, "enums": {}, "triton_models": {"m": model}, "metrics": {"f": {"label": "l", "values": values}}}

    assert list(recorder.differences(tree([1], ["a"]), tree([1], ["a"]))) == []
    assert list(recorder.differences(tree([1], ["a"]), tree([-1], ["a", "b"]))) == [
        "triton_models.m.inputs: t has dims [-1], was [1]",
        "metrics: f has ['a', 'b'], was ['a']",
    ]


def test_every_flag_that_starts_a_server_is_on_record() -> None:
    """Of Triton's real help; mpirun's own are held by tests/serving/server/test_launch.py, vLLM's by tests of marker `vllm`."""
    sources = (path for path in (ROOT / "trtbench" / "serving").rglob("*.py") if not path.name.startswith("vllm_"))
    written = {flag for path in sources for flag in re.findall(r"""["'](--[a-z][a-z-]+[a-z])""", path.read_text())}
    written |= {f"--{service}-{kind}" for service in ("grpc", "http", "metrics") for kind in ("address", "port")}
    assert {"--model-repository", "--exit-timeout-secs", "--load-model"} <= written
    assert sorted(written - set(SERVER_FLAGS) - ORCHESTRATOR) == []
