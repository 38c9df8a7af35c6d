"""The recorder against the stand-in: what was made from a contract is recorded as that contract."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from contracts.contract import contract, fields
from contracts.stub import write_stub

ROOT = Path(__file__).parents[2]

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
    spec = importlib.util.spec_from_file_location("record_contract", ROOT / "scripts" / "record_contract.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "version"), [("1.0", "1.0.1"), ("1.2", "1.2.1")])
def test_the_stand_in_is_recorded_as_its_contract(
    recorder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    write_stub(tmp_path, name, version)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [module for module in sys.modules if module.split(".")[0] == "tensorrt_llm"]:
        monkeypatch.delitem(sys.modules, module)
    new = recorder.record(version)
    for module in [module for module in sys.modules if module.split(".")[0] == "tensorrt_llm"]:
        del sys.modules[module]
    for kind in ("BuildConfig", "PluginConfig", "QuantConfig", "CalibConfig"):
        assert set(new["classes"][kind]["fields"]) == set(fields(name, kind))
    assert list(recorder.differences(contract(name), new)) == []
    assert any(one.startswith("TrtLlmArgs: ") for one in new["unknown"])  # the stand-in has no such module


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
