"""What the wheel carries, that it works where it is installed, and that set-up's pins fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import trtbench

ROOT = Path(__file__).parents[1]
DATA = "trtbench/_data/"
INSTALLED = """
import trtbench
from trtbench.system import packaged_data
from trtbench.plan.sources.prompt_source import read_corpus
from trtbench.report.kit.words import texts_of
print(trtbench.__file__)
print(*(str(path.relative_to(packaged_data.ROOT)) for path in sorted(packaged_data.SCENARIOS.glob("*.yaml"))))
print(packaged_data.ENGINES.is_dir(), (packaged_data.MODEL_REPO / "openvino" / "1" / "model.py").is_file())
print(len(read_corpus(("en", "zh"))) > 0, len(texts_of("zh")) > 0)
"""


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout that holds a built engine and a run as well."""
    source, directory = tmp_path_factory.mktemp("checkout") / "trtbench", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".*cache", ".venv*", ".hypothesis", "built", "runs"))
    for leftover in ("engines/built/model/weights.bin", "engines/built/model/engine.json", "runs/one/events.jsonl"):
        (source / leftover).parent.mkdir(parents=True, exist_ok=True)
        (source / leftover).touch()
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(directory), str(source))
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def shipped(pattern: str) -> list[Path]:
    """Files of the checkout that git would keep."""
    return [path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]


@pytest.mark.parametrize("pattern", ["engines/*.yaml", "model_repo/**/*", "scenarios/*.yaml"])
def test_wheel_carries_the_data(members: set[str], pattern: str) -> None:
    files = shipped(pattern)
    assert files
    assert {DATA + str(path) for path in files} - members == set()


@pytest.mark.parametrize(
    "pattern",
    ["trtbench/**/*.py", "trtbench/py.typed", "trtbench/plan/sources/corpus/*", "trtbench/report/templates/*", "trtbench/report/texts/*"],
)
def test_wheel_carries_the_package(members: set[str], pattern: str) -> None:
    files = shipped(pattern)
    assert files
    assert {str(path) for path in files} - members == set()


def test_wheel_carries_nothing_that_was_built_or_measured(members: set[str]) -> None:
    allowed = re.compile(
        rf"({DATA}(engines/[^/]+\.yaml|model_repo/.+|scenarios/[^/]+\.(yaml|json))|trtbench/(?!_data).+|trtbench-[^/]+\.dist-info/.+)"
    )
    assert [name for name in members if not allowed.fullmatch(name) or name.endswith(".pyc")] == []
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in members)


def test_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    pip("install", "--no-deps", "--no-index", "--target", str(tmp_path), str(wheel))
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    module, scenarios, *found = done.stdout.splitlines()
    assert Path(module).is_relative_to(tmp_path)
    assert scenarios.split() == sorted(str(path) for path in shipped("scenarios/*.yaml"))
    assert found == ["True True", "True True"]


def test_the_version_is_one() -> None:
    assert version("trtbench") == trtbench.__version__
    assert f"## {trtbench.__version__} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


NVIDIAS = {"tensorrt", "tensorrt-llm"}
"""Of optional groups: the container that serves decides their versions, and set-up never installs them."""


def pins() -> dict[str, list[Requirement]]:
    """Every pin of constraints.txt and requirements-nodeps.txt, by package."""
    found: dict[str, list[Requirement]] = {}
    for name in ("constraints.txt", "requirements-nodeps.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                pin = Requirement(line)
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_pin_is_exact_and_the_only_one(python: str) -> None:
    here = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux", "platform_machine": "x86_64"}
    for name, choices in pins().items():
        valid = [pin for pin in choices if pin.marker is None or pin.marker.evaluate(here)]
        assert len(valid) <= 1, f"{name} is pinned twice for Python {python}"
        assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in choices), f"{name} is not pinned to one version"


def test_everything_that_is_asked_for_is_pinned() -> None:
    asked = [Requirement(line) for line in requires("trtbench") or ()]
    assert asked
    assert {canonicalize_name(requirement.name) for requirement in asked} - set(pins()) <= NVIDIAS


def test_pins_satisfy_what_is_asked_for() -> None:
    for requirement in map(Requirement, requires("trtbench") or ()):
        for pin in pins().get(canonicalize_name(requirement.name), ()):
            version = str(pin.specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{pin} does not satisfy {requirement}"


def test_no_torchvision_was_installed() -> None:
    """One that does not match torch breaks `import transformers`, and so every build."""
    if find_spec("torch") is None:
        pytest.skip("the extra `cpu` is not installed")
    with pytest.raises(PackageNotFoundError):
        distribution("torchvision")
