"""Rules of the source tree: which folder may import which, how large folders and files may be, where heavy packages live.

The order of the folders is read from docs/architecture.md, so that the page and the rule cannot differ.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from trtbench.engine.build import PROVIDERS
from trtbench.experiments.registry import EXPERIMENTS
from trtbench.rundir.events import KINDS
from trtbench.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trtbench"
MOST_LINES = 280  # of a file
MOST_FILES = 20  # of a folder
LEAST_LINES, LEAST_FILES = 40, 4  # a folder counts its files and its folders
MOST_FUNCTION_LINES = 40
AT_TOP = {"__init__", "__main__", "errors"}

LONG_FUNCTIONS = {"_reload", "deployment_facts", "measure"}
"""Each makes one object with very many fields. No other function may be longer than MOST_FUNCTION_LINES."""

SHORT_FILES = {
    "errors": "the bases of all errors, which everything imports",
    "client.kserve.grpc_wires": "has two importers",
    "cli.describing": "has three verbs",
    "compare.compared_metric": "has importers in several files",
    "compare.slo_gate": "a gate without a base",
    "cli.compare.exit_codes": "has importers in several files",
    "cli.exporting": "a verb",
    "experiments.imported.analysis": "a role",
    "engine.openvino.pooling": "the only importer of a heavy package",
    "experiments.grid.analysis": "a role",
    "analysis.stats.sorting": "has importers in several files",
    "experiments.kv_cache.analysis": "a role",
    "experiments.repeats.report": "a role",
    "experiments.scaling.run": "a role",
    "gpu.__main__": "runs as a child process",
    "report.comparison.junit": "a format of its own",
    "run.result_importer": "a protocol",
    "serving.repository.renderer": "a protocol",
    "system.packaged_data": "has importers in several folders",
    "tasks.generate": "a variant",
    "tasks.registry": "a registry",
}
"""Files of fewer than LEAST_LINES lines, with the reason."""

SMALL_FOLDERS = {"experiments/precision", "report/figures", "serving"}
"""Folders of fewer than LEAST_FILES files."""

ROLES = {
    "spec": "spec",
    "run": "run",
    "importer": "run",
    "live_repository": "run",
    "model_control": "run",
    "search": "run",
    "race": "steering",
    "bracketing": "steering",
    "sequential_test": "steering",
    "probe_judge": "steering",
    "report": "report",
    "figure": "figure",
}
"""File of an experiment: its role, which is its layer. A file that is not listed has the role `analysis`."""

SHARED_NAMES = {
    "__main__": ("", "*"),
    "registry": ("*",),
    **dict.fromkeys(("analysis", "figure", "report", "run"), ("experiments/*",)),
    "spec": ("engine", "experiments/*"),
    **dict.fromkeys(("build", "provider"), ("engine", "engine/*")),
    **dict.fromkeys(("exchange", "probe", "target"), ("client/*",)),
}
"""Names that several files have because they are roles, with the folders whose files have that role; `*` stands for any folder."""

HEAVY_HOMES = {
    "engine.tensorrt.encoder_int8": {"onnx", "onnxruntime"},
    "engine.tensorrt.encoder_onnx": {"torch", "transformers"},
    "engine.openvino.gguf": {"torch", "transformers"},
    "engine.openvino.classifier_export": {"openvino", "torch", "transformers"},
    "engine.openvino.export": {"openvino", "optimum", "transformers"},
    "engine.openvino.pooling": {"openvino"},
    "engine.tensorrt.build": {"tensorrt"},
    "engine.tensorrt_llm.build": {"tensorrt_llm"},
    "gpu.inventory": {"pynvml"},  # lists the GPUs
    "gpu.settings": {"pynvml"},  # changes them
    "telemetry.nvml": {"pynvml"},  # samples them
}
"""The only modules that import a heavy package."""

HEAVY = {name for names in HEAVY_HOMES.values() for name in names} | {"nncf", "openvino_genai", "openvino_tokenizers"}
ONLY_LATE = {*HEAVY_HOMES, "gpu.control", "gpu.status", "gpu.lock", "gpu.requested", "cli.gpu"}
"""The homes and the modules that import them: imported at the top of one another only."""

LATE = {
    "__main__": {"cli.main", "system.output"},
    "cli.main": {"cli.building", "cli.calibrate", "cli.commands", "cli.dry_run", "cli.gpu", "cli.reporting"},
    "cli.compare.baselines": {"compare.baseline"},
    "cli.capacity": {"cli.commands", "cli.dry_run", "cli.flags.bench_scenario", "scenario.reading"},
    "cli.compare.comparing": {"cli.compare.comparison_console"},
    "cli.compare.comparison_console": {"report.comparison.overlaid_curves"},
    "cli.dataset": {
        *("plan.dataset_lines", "plan.draw", "plan.sources.prompt_source", "cli.flags.bench_scenario", "cli.flags.explained"),
        *("scenario.load.measurement", "scenario.parts.part", "scenario.reading"),
    },
    "cli.exporting": {"export.writers"},
    "cli.importing": {"cli.reporting", "experiments.registry", "run.result_importer"},
    "cli.flags.cost_flags": {"scenario.deployment.gpu_settings"},
    "cli.flags.translation": {"system.leftovers"},
    "cli.describing": {"cli.commands"},
    "cli.doctor": {"gpu.inventory"},
    "run.environment": {"gpu.inventory"},
    "run.resolve.deployment_checks": {"gpu.inventory"},
    "run.resolve.preflight": {"gpu.control"},
    "run.execute": {"gpu.control", "gpu.inventory"},
    "telemetry.sources": {"gpu.inventory", "telemetry.nvml"},
    "report.document": {"report.figures.plots"},
}
"""Imports of ours inside functions: each keeps a slow import out of a start-up."""


@dataclass(frozen=True)
class Import:
    importer: str  # "plan.draw" for trtbench/plan/draw.py
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
    """`trtbench.plan.plan.Plan` -> ("plan.plan", True); `grpc.aio.Channel` -> ("grpc", False)."""
    first, *parts = dotted.split(".")
    if first != "trtbench":
        return first, False
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts), True


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for importer, path in MODULES.items():
        tree = parsed(path)
        functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        inner = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt):
                for dotted in imported_names(node):
                    name, ours = resolve(dotted)
                    found.append(Import(importer, name, ours, id(node) in inner, node.lineno))
    return tuple(found)


def layers() -> list[list[str]]:
    """The folders of docs/architecture.md from bottom to top; folders on one line may import each other."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (picture,) = re.findall(r"```layers\n(.*?)```", page, re.DOTALL)
    return [line.split("#")[0].split() for line in picture.splitlines()]


def place(module: str) -> str:
    """The name that a module's layer has in the picture: its own where it is listed, else its folder's, or its role's."""
    parts = module.split(".")
    path = "/".join(parts)
    if path in LEVELS:
        return path
    if parts[0] == "experiments" and len(parts) > 2:
        return f"experiments/*/{ROLES.get(parts[2], 'analysis')}"
    return "/".join(parts[:-1])


PURE = {
    "analysis",
    "analysis/stage",
    "analysis/stats",
    "analysis/verdict",
    "experiments/*/analysis",
    "experiments/*/steering",
}
LEVELS = {name: level for level, names in enumerate(layers()) for name in names}


def test_the_picture_lists_every_folder_and_nothing_else() -> None:
    placed = {place(name) for name, path in MODULES.items() if path.name != "__init__.py"}
    assert placed == set(LEVELS)


def test_no_folder_imports_a_higher_one() -> None:
    ours = [one for one in imports() if one.ours and one.name and MODULES[one.name].name != "__init__.py" and one.importer]
    assert [str(one) for one in ours if LEVELS[place(one.name)] > LEVELS[place(one.importer)]] == []


def test_no_experiment_imports_another() -> None:
    both = [(one, one.importer.split("."), one.name.split(".")) for one in imports() if one.ours]
    assert [str(one) for one, a, b in both if a[0] == b[0] == "experiments" and a[1:2] != b[1:2]] == []


def test_only_the_registry_and_a_clients_own_folder_know_which_clients_there_are() -> None:
    """Load and run use the protocol, so that a client is added in its own folder and in the registry."""
    common = {"client.protocol", "client.request_outcome", "client.registry"}
    users = [one for one in imports() if one.ours and one.name.startswith("client.") and one.importer.split(".")[0] in ("load", "run")]
    assert users and [str(one) for one in users if one.name not in common] == []


CLIENT_PROTOCOL = f"""
import sys
import trtbench.client.protocol
print([name for name in {sorted(HEAVY | {"grpc", "tritonclient", "google.protobuf"})} if name in sys.modules])
"""


@pytest.mark.process
def test_the_protocol_of_clients_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT_PROTOCOL], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


NAME_NO_EXPERIMENT = ("run", "analysis", "report", "cli", "api")


def test_the_core_names_no_experiment() -> None:
    """What it has to know of an experiment is in the objects of `EXPERIMENTS`."""
    core = [one for one in imports() if one.ours and one.importer.split(".")[0] in NAME_NO_EXPERIMENT]
    assert [str(one) for one in core if one.name.startswith("experiments.") and one.name != "experiments.registry"] == []
    compared = {name: names_compared(ast.parse(path.read_text(encoding="utf-8")), set(EXPERIMENTS)) for name, path in MODULES.items()}
    assert {name: lines for name, lines in compared.items() if lines and not name.startswith("experiments.")} == {}


KNOW_A_KEY = {"cli.commands", "run.resolve.provider_fit"}  # --search is a flag of the grid; a provider cannot vary each axis of it


def test_the_core_reads_no_key_of_an_experiment() -> None:
    """Every experiment is asked, and reads its own key of the scenario."""
    found = set()
    for name in (name for name in MODULES if name.split(".")[0] in NAME_NO_EXPERIMENT):
        for node in ast.walk(parsed(MODULES[name])):
            if isinstance(node, ast.Attribute) and node.attr in EXPERIMENTS and ast.unparse(node.value).split(".")[-1] == "scenario":
                found.add(name)
    assert found == KNOW_A_KEY


READERS = {
    "open",
    "read_lines",
    "read_rows",
    "read_text",
    "read_bytes",
    "load_run_scenario",
    "DeploymentDirectory",
    "environ",
    "getenv",
    "monotonic_ns",
}
MAY_READ = {
    *("analysis.loader", "plan.plan_file", "plan.sources.datasets", "plan.sources.prompt_source", "plan.sources.readers"),
    *(f"plan.sources.tensors.{reader}" for reader in ("folders", "perf_analyzer_json", "pictures")),
}


def test_the_analysis_and_the_plan_read_files_in_their_readers_only() -> None:
    pure = {name: path for name, path in MODULES.items() if (place(name) in PURE or name.startswith("plan.")) and name not in MAY_READ}
    found = {name: names_used(parsed(path)) & READERS for name, path in pure.items()}
    assert {name: used for name, used in found.items() if used} == {}


def names_used(tree: ast.AST) -> set[str]:
    nodes = list(ast.walk(tree))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for one in imports():
        if one.ours and one.name != one.importer and one.importer:  # trtbench/__init__.py imports for type checkers only
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
import trtbench.cli.reporting
from trtbench.cli.main import main
main(["report", "--help"])
"""


@pytest.mark.process
def test_report_starts_where_no_engine_and_no_client_is_installed() -> None:
    done = subprocess.run([sys.executable, "-c", REPORT_ON_A_LAPTOP], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "RUN_DIR" in done.stdout


@pytest.mark.parametrize("directory", ["trtbench", "model_repo", "tests/support"])
def test_files_are_short(directory: str) -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / directory).rglob("*.py")}
    assert lines
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_the_ways_through_the_program_are_short_and_name_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    ways = re.findall(r"^## The way of one (\w+)\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE)
    assert {name for name, _ in ways} == {"request", "metric", "deployment", "reload"}
    for name, text in ways:
        steps = re.findall(r"^\d+\. .*(?:\n +.*)*", text, re.MULTILINE)
        files = {file for step in steps for file in re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+\.(?:py|yaml))`", step)}
        assert 0 < len(files) <= 12 and len(steps) <= 12, name
        assert [file for file in files if not (PACKAGE / file).is_file()] == [], name


def test_functions_are_short() -> None:
    functions = (
        node for path in MODULES.values() for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    long = {node.name for node in functions if node.end_lineno and node.end_lineno - node.lineno >= MOST_FUNCTION_LINES}
    assert long == LONG_FUNCTIONS


def test_a_short_file_and_a_small_folder_have_a_reason() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items() if path.name != "__init__.py"}
    assert {name for name, count in lines.items() if count < LEAST_LINES} == set(SHORT_FILES)
    folders = {path.parent for path in MODULES.values()} - {PACKAGE}
    inside = {folder: sum(path.parent == folder and path.name != "__init__.py" for path in MODULES.values()) for folder in folders}
    inside = {folder: count + sum(one.parent == folder for one in folders) for folder, count in inside.items()}
    small = {str(folder.relative_to(PACKAGE)) for folder, count in inside.items() if count < LEAST_FILES}
    assert small == SMALL_FOLDERS


def test_folders_are_small_and_the_top_is_nearly_empty() -> None:
    folders: dict[Path, int] = {}
    for path in MODULES.values():
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    for path in (ROOT / "tests" / "support").rglob("*.py"):
        folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {str(folder): count for folder, count in folders.items() if count > MOST_FILES} == {}
    assert {path.stem for path in PACKAGE.glob("*.py")} == AT_TOP


def test_two_files_of_one_name_have_one_role() -> None:
    """One noun, one file: what `grep` or a file finder is asked for has one answer, or the same one in each variant's folder."""
    folders: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        if path.name != "__init__.py":
            folder, _, stem = name.rpartition(".")
            folders.setdefault(stem, []).append(folder.replace(".", "/"))
    doubles = {stem: found for stem, found in folders.items() if len(found) > 1}
    odd = {
        stem: [one for one in found if not any(map(partial(fnmatch, one), SHARED_NAMES.get(stem, ())))] for stem, found in doubles.items()
    }
    assert {stem: found for stem, found in odd.items() if found} == {}


def names_compared(tree: ast.AST, names: set[str]) -> list[int]:
    """Lines that compare something with one of `names`: by ==, != or in, or by a case of match."""
    operands: list[ast.expr] = []
    for node in ast.walk(tree):
        operands += [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        operands += [node.value] if isinstance(node, ast.MatchValue) else []
    parts = [part for one in operands for part in (one.elts if isinstance(one, (ast.Tuple, ast.List, ast.Set)) else [one])]
    return [part.lineno for part in parts if isinstance(part, ast.Constant) and part.value in names]


def test_nobody_compares_the_name_of_a_task() -> None:
    """What differs between tasks is an attribute of `Task`."""
    others = {name: path for name, path in MODULES.items() if not name.startswith("tasks.")}
    compared = {name: names_compared(parsed(path), set(TASKS)) for name, path in others.items()}
    assert {name: lines for name, lines in compared.items() if lines} == {}


def test_a_providers_name_is_compared_in_its_own_folder_only() -> None:
    """Elsewhere a provider is asked for its `traits`, or is a key of a registry."""
    others = {name: path for name, path in MODULES.items() if not set(PROVIDERS) & set(name.split("."))}
    compared = {name: names_compared(parsed(path), set(PROVIDERS)) for name, path in others.items()}
    assert {name: lines for name, lines in compared.items() if lines} == {}


def test_a_compared_name_is_found() -> None:
    source = 'a == "x"\n"x" != a\na in ("x", "y")\nf({"x": 1}[a])\nmatch a:\n  case "x":\n    pass'
    assert names_compared(ast.parse(source), {"x"}) == [1, 2, 3, 6]


def test_no_free_dict_crosses_the_border() -> None:
    """Public functions, classes and fields of rundir/ have typed shapes; foreign JSON is a mapping to `object`, which must be checked."""
    found = []
    for name in sorted(name for name in MODULES if name.startswith("rundir.")):
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
        for node in (node for body in bodies for node in body):
            if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                annotations = [node.returns, *(argument.annotation for argument in arguments)]
            else:
                annotations = [node.annotation] if isinstance(node, ast.AnnAssign) else []
            shapes = [ast.unparse(annotation) for annotation in annotations if annotation]
            found += [f"{name}:{node.lineno}: {shape}" for shape in shapes if re.search(r"(dict|Dict|Mapping)\[str, Any\]", shape)]
    assert found == []


def test_a_kind_of_event_is_compared_in_rundir_only() -> None:
    """Elsewhere an event is read as the object of its kind: by `first`, `every`, `timed` or `content`."""
    kinds = set(KINDS) - {"interrupted", "server_lost"}  # which are also names of how a stage ends
    others = {name: path for name, path in MODULES.items() if not name.startswith("rundir.")}
    compared = {name: names_compared(ast.parse(path.read_text(encoding="utf-8")), kinds) for name, path in others.items()}
    assert {name: lines for name, lines in compared.items() if lines} == {}
