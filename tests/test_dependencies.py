"""Packages that pyproject.toml declares are those that the source imports, as deptry would check."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

tomllib = pytest.importorskip("tomllib")  # Python 3.11

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

DISTRIBUTIONS = {
    "google": "tritonclient",  # protobuf, whose messages tritonclient's stubs take and return
    "grpc": "grpcio",
    "markupsafe": "jinja2",  # the type of escaped text in Jinja's interface
    "modelopt": "tensorrt-llm",  # its quantiser, which it requires
    "pydantic_core": "pydantic",  # schemas and errors in pydantic's interface; pydantic requires one exact version
    "PIL": "pillow",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}
"""Import names that differ from the name of the declared distribution."""

NOT_IMPORTED = {
    "accelerate": "transformers loads checkpoints with it",
    "nncf": "optimum-intel quantises weights with it",
    "openvino-tokenizers": "optimum-intel exports tokenizers with it, and openvino-genai loads them",
}
"""Declared distributions that other packages import, and why trtbench requires them."""

OURS = {"trtbench", "triton_python_backend_utils"} | {path.stem for path in (ROOT / "model_repo").rglob("*.py")}
"""The package, and modules that Triton's Python backend provides or finds next to a model."""


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ;]", one)[0].lower().replace("_", "-") for one in requirements}


RUNTIME = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
PROVIDERS = set[str]().union(*(names for extra, names in EXTRAS.items() if extra != "dev"))


def imported(*directories: str) -> dict[str, str]:
    """Distributions that the directories import, each with one file that does."""
    found: dict[str, str] = {}
    for path in sorted(path for directory in directories for path in (ROOT / directory).rglob("*.py")):
        for name in names(ast.parse(path.read_text(encoding="utf-8"))):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names | OURS:
                found[DISTRIBUTIONS.get(top, top.lower().replace("_", "-"))] = str(path.relative_to(ROOT))
    return found


def names(tree: ast.AST) -> Iterator[str]:
    """Modules of import statements and of find_spec("...")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec"):
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


@pytest.fixture(scope="module")
def source() -> dict[str, str]:
    return imported("trtbench", "model_repo")


def test_every_imported_package_is_declared(source: dict[str, str]) -> None:
    assert {name: path for name, path in source.items() if name not in RUNTIME | PROVIDERS} == {}


def test_every_declared_package_is_imported(source: dict[str, str]) -> None:
    assert sorted((RUNTIME | PROVIDERS) - source.keys()) == sorted(NOT_IMPORTED)


def test_what_the_report_and_the_client_import_needs_no_extra(source: dict[str, str]) -> None:
    """Packages of an extra are imported by the engines alone."""
    outside = {name: path for name, path in source.items() if name in PROVIDERS - RUNTIME}
    assert {path.split("/")[1] for path in outside.values() if path.startswith("trtbench/")} == {"engine"}


def test_pandas_makes_tables_for_users_only() -> None:
    folders = [path.name for path in (ROOT / "trtbench").iterdir() if path.is_dir() and "pandas" in imported(f"trtbench/{path.name}")]
    assert folders == ["api"]
