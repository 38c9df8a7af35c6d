"""install_beside.py imports every module of trtbench; a package of an optional group may be missing, one of the others may not."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from tests.containers.made_image import SCRIPT
from tests.containers.shown import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
GROUPS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ASKED = {re.match(r"[\w.-]+", line)[0].replace("-", "_") for name, group in GROUPS.items() if name != "dev" for line in group}  # type: ignore[index]
LINES = [f'{line}; extra == "{name.replace("_", "-")}"' for name, group in GROUPS.items() for line in group]
CHILD = """
import importlib.abc, importlib.machinery, importlib.metadata, json, os, sys
told = json.loads(sys.argv[1])
importlib.metadata.requires = lambda name: told["lines"]

class Any(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return made(name)

def made(name):  # a class, a base class, a decorator, a namespace: whatever is done with it as a module is loaded
    return Any(name, (), {"__init__": lambda *_, **__: None, "__call__": lambda self, wrapped=None: wrapped})

class Found(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    absent = None
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if self.absent in (top, "all") and top in told["optional"] or top == told["missing"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if top in told["optional"] else None
    def exec_module(self, module):
        module.__getattr__ = lambda name: getattr(made(module.__name__), name)

found = Found()
sys.meta_path.insert(0, found)
sys.argv = ["-c"]
exec(told["code"])
loaded = set(sys.modules)
for absent in [*told["optional"], "all"]:
    child = os.fork()
    if not child:
        found.absent = absent
        for name in loaded:
            if name.split(".")[0] in told["optional"] or name in told["modules"]:
                del sys.modules[name]
        try:
            exec(told["code"])
        except BaseException as error:
            print(f"without {absent}: {error!r}", flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"cannot be installed without {absent}")
"""
"""Every module with stand-ins for the optional packages, then again without each of them, and without all."""


def code() -> str:
    spec = spec_from_file_location("install_beside", SCRIPT)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.IMPORT_ALL)


def imports() -> dict[str, set[str]]:
    """Top names of the packages of others that each of our modules imports as it is loaded."""
    found = {}
    for path in sorted((ROOT / "trtbench").rglob("*.py")):
        nodes = ast.parse(path.read_text("utf-8")).body
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        tops = {name.split(".")[0] for name in named} - sys.stdlib_module_names - {"trtbench", "__future__"}
        found[".".join(path.relative_to(ROOT).with_suffix("").parts)] = tops
    return found


def run(missing: str = "") -> subprocess.CompletedProcess[str]:
    modules = [module for module, tops in imports().items() if tops & ASKED]
    told = {"lines": LINES, "optional": sorted(ASKED), "missing": missing, "modules": modules, "code": code()}
    command = [sys.executable, "-c", CHILD, json.dumps(told)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.process
def test_each_package_of_a_group_may_be_absent_and_all_may() -> None:
    assert {"onnx", "onnxruntime", "tensorrt", "tensorrt_llm", "torch", "openvino"} <= ASKED
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_one_that_is_always_needed_may_not() -> None:
    done = run(missing="hpack")
    assert done.returncode == 1
    assert "No module named 'hpack'" in done.stderr


def test_every_package_that_is_imported_is_asked_for() -> None:
    always = {re.match(r"[\w.-]+", line)[0].lower() for line in PROJECT["dependencies"]}  # type: ignore[index]
    always |= {"protobuf", "markupsafe", "pydantic_core"}  # of tritonclient[grpc], of jinja2 and of pydantic
    of = packages_distributions()
    for module, tops in imports().items():
        for top in tops - ASKED:
            assert {name.lower() for name in of.get(top, ())} & always, f"{module} imports {top}, which no list asks for"


def test_each_provider_has_a_group() -> None:
    assert set(GROUPS) == {"cpu", "tensorrt", "tensorrt_llm", "dev"}


@pytest.mark.parametrize("name", ["torch", "transformers", "onnx", "onnxruntime"])
def test_groups_agree_on_the_oldest_version(name: str) -> None:
    assert len({line for group in GROUPS.values() for line in group if re.match(rf"{name}\b(?!-)", line)}) == 1
