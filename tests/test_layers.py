"""Who may import whom, read from the source with `ast`: imports at the top of a file and inside functions alike."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trtbench"
MAX_LINES = 280  # a file is meant to have at most about 250

FOUNDATION = {
    "clock",
    "cuda",
    "data",
    "errors",
    "foreign_text",
    "guarded",
    "history",
    "interrupts",
    "left_behind",
    "memory",
    "override",
    "records",
    "rundir",
    "scenario",
    "strict_yaml",
}
FOUNDATION |= {"input_file", "leftovers", "shortage", "strict_yaml"}
SEARCHES = {"analysis.knee", "analysis.bisection"}  # pure; an experiment steers by them
DEVICES = {"engine", "serving", "load", "telemetry", "gpu"}
MEASURING = {
    "preflight",
    "preview",
    "dataset_bounds",
    "devices",
    "engines",
    "fitted",
    "memory_preview",
    "environment",
    "doctor",
    "runlog",
    "deploy",
    "drive",
    "limit",
    "padding",
    "resume",
    "run",
    "search",
    "bench",
    "serve",
}
COMMAND_LINE = {
    "cli",
    "commands",
    "dry_run",
    "examples",
    "gpu_commands",
    "console",
    "flags",
    "options_bench",
    "options_build",
    "build_command",
    "calibrate",
}

MAY_IMPORT: dict[str, set[str]] = {
    "clock": set(),
    "cuda": set(),
    "data": set(),
    "errors": set(),
    "foreign_text": set(),
    "guard": set(),
    "guarded": {"guard", "interrupts", "leftovers"},
    "interrupts": set(),
    "left_behind": set(),
    "leftovers": {"guard"},
    "output": {"interrupts"},
    "__main__": {"cli", "interrupts", "output"},
    "memory": set(),
    "records": set(),
    "shortage": set(),
    "history": {"records"},
    "rundir": {"errors", "history", "records"},
    "input_file": {"errors"},
    "strict_yaml": {"errors"},
    "override": {"errors", "strict_yaml"},
    "scenario": {"errors", "input_file", "override", "records", "strict_yaml"},
    "engine": FOUNDATION,
    "serving": FOUNDATION | {"engine.spec", "engine.tensorrt_runtime", "engine.trtllm_names"},
    "load": FOUNDATION,
    "telemetry": FOUNDATION | {"gpu.nvml"},
    "gpu": FOUNDATION,
    "experiment": FOUNDATION | {"load", "serving", "telemetry"} | SEARCHES,
    "calibration": FOUNDATION | {"load", "serving", "analysis.percentile"},
    "analysis": {"foreign_text", "history", "records", "rundir", "scenario", "shortage"},
    "report": {"analysis.summary", "foreign_text", "records", "rundir", "scenario"},
    **dict.fromkeys(MEASURING, FOUNDATION | DEVICES | MEASURING | {"experiment"}),
    "search": {"analysis.race", "analysis.scores", "runlog", "scenario"},
    "reporting": {"analysis", "report", "records", "rundir", "errors", "foreign_text"},
    **dict.fromkeys(
        COMMAND_LINE, FOUNDATION | DEVICES | MEASURING | COMMAND_LINE - {"cli"} | {"reporting", "calibration", "analysis.percentile"}
    ),
}
"""Part (a module or subpackage of trtbench): what it may import besides itself. Nothing imports `cli`."""

HEAVY = {
    "nncf",
    "onnx",
    "onnxruntime",
    "openvino",
    "openvino_genai",
    "openvino_tokenizers",
    "optimum",
    "pynvml",
    "tensorrt",
    "tensorrt_llm",
    "torch",
    "transformers",
}
HEAVY_HOMES = {
    "engine.encoder_int8": {"onnx", "onnxruntime"},
    "engine.encoder_onnx": {"torch", "transformers"},
    "engine.gguf": {"torch", "transformers"},
    "engine.openvino_export": {"openvino", "optimum", "transformers"},
    "engine.tensorrt_build": {"tensorrt"},
    "engine.trtllm_build": {"tensorrt_llm"},
    "gpu.nvml": {"pynvml"},  # which GPUs there are
    "gpu.settings": {"pynvml"},  # all that changes one
    "telemetry.nvml": {"pynvml"},  # all that samples one
}
"""The only modules that import a heavy package."""

ONLY_LATE = {*HEAVY_HOMES, "gpu.ballast", "gpu.control", "gpu.idle", "gpu.lock", "gpu.status", "gpu.wish", "gpu_commands"}
"""The homes and what stands on them: imported at the top of one another only."""

LATE = {
    "__main__": {"cli", "output"},
    "cli": {"build_command", "calibrate", "commands", "dry_run", "gpu_commands", "leftovers", "reporting"},
    "commands": {"gpu.control", "gpu.nvml"},
    "doctor": {"gpu.nvml"},
    "environment": {"gpu.nvml"},
    "devices": {"gpu.nvml"},
    "preflight": {"gpu.control"},
    "run": {"gpu.control"},
    "telemetry.__main__": {"gpu.nvml", "telemetry.nvml"},
    "report.document": {"report.plots"},
}
"""Imports of ours inside functions: each spares a start-up what it takes long to load."""


@dataclass(frozen=True)
class Import:
    importer: str  # "load.plan" for trtbench/load/plan.py
    name: str  # the same for one of ours, else the third-party package's top name
    ours: bool
    late: bool  # inside a function
    line: int

    def __str__(self) -> str:
        return f"trtbench/{self.importer.replace('.', '/')}.py:{self.line} imports {self.name}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, f"line {node.lineno}: a relative import"
    return [f"{node.module}.{alias.name}" for alias in node.names]


def resolve(dotted: str) -> tuple[str, bool]:
    """`trtbench.load.plan.Plan` -> ("load.plan", True); `grpc.aio.Channel` -> ("grpc", False)."""
    first, *parts = dotted.split(".")
    if first != "trtbench":
        return first, False
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts), True


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for importer, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        inner = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt):
                for dotted in imported_names(node):
                    name, ours = resolve(dotted)
                    found.append(Import(importer, name, ours, id(node) in inner, node.lineno))
    return tuple(found)


def allowed(one: Import) -> bool:
    part = one.importer.split(".")[0]
    name_part = one.name.split(".")[0]
    return name_part in ("", part) or name_part in MAY_IMPORT[part] or one.name in MAY_IMPORT[part]


def test_every_module_has_a_rule() -> None:
    assert {name.split(".")[0] for name in MODULES} - {""} <= set(MAY_IMPORT)


def test_only_what_the_layers_allow_is_imported() -> None:
    assert [str(one) for one in imports() if one.ours and one.importer and not allowed(one)] == []


def test_the_package_itself_imports_nothing() -> None:
    assert [str(one) for one in imports() if one.importer == "" and one.name != "__future__"] == []


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for one in imports():
        if one.ours and one.name != one.importer:
            graph[one.importer].add(one.name)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_heavy_packages_are_imported_in_their_homes_only() -> None:
    assert [str(one) for one in imports() if one.name in HEAVY and not one.ours and one.name not in HEAVY_HOMES.get(one.importer, ())] == []


def test_homes_of_heavy_packages_are_imported_late_or_run_as_a_child() -> None:
    assert [str(one) for one in imports() if one.ours and one.name in ONLY_LATE and not one.late and one.importer not in ONLY_LATE] == []


def test_imports_of_ours_inside_functions_are_for_start_up_time_only() -> None:
    assert [str(one) for one in imports() if one.ours and one.late and one.name not in LATE.get(one.importer, ())] == []


REPORT_ON_A_LAPTOP = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY | {"grpc", "tritonclient"}}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import trtbench.reporting
from trtbench.cli import main
main(["report", "--help"])
"""


def test_report_starts_where_no_engine_and_no_client_is_installed() -> None:
    done = subprocess.run([sys.executable, "-c", REPORT_ON_A_LAPTOP], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "RUN_DIR" in done.stdout


@pytest.mark.parametrize("directory", ["trtbench", "model_repo"])
def test_files_are_short(directory: str) -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / directory).rglob("*.py")}
    assert lines
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
