"""`make test-gpu` (scripts/test_gpu.sh) in images with TensorRT-LLM or TensorRT: its environment, and which tests it runs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_INSTALL = """
import pathlib, sys
program = pathlib.Path(sys.argv[1], "bin", "python")
program.parent.mkdir(parents=True)
program.write_text("#!/bin/sh\\necho ran\\nprintf '%s|' \\"$@\\" >asked\\n")
program.chmod(0o755)
pathlib.Path("installed").write_text("|".join(sys.argv[1:]))
print("made")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts", "tests", "site/tensorrt_llm"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "test_gpu.sh", tmp_path / "scripts")
    (tmp_path / "scripts" / "install_beside.py").write_text(FAKE_INSTALL)
    (tmp_path / "tests" / "test_one.py").write_text("pytestmark = pytest.mark.gpu\n")
    for name in ("site/tensorrt_llm/__init__.py", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


def run(checkout: Path, **variables: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout / "site"), "PYTHON": "python3"} | variables
    done = subprocess.run(["bash", "scripts/test_gpu.sh"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.process
def test_one_image_one_environment(checkout: Path) -> None:
    assert (run(checkout), run(checkout)) == (["made", "ran"], ["ran"])


@pytest.mark.process
@pytest.mark.parametrize("changed", ["constraints.txt", "pyproject.toml", "site/tensorrt_llm/__init__.py"])
def test_what_it_was_made_of_has_changed(checkout: Path, changed: str) -> None:
    run(checkout)
    (checkout / changed).write_text("# another\n")
    assert run(checkout) == ["made", "ran"]


@pytest.mark.process
def test_the_packages_of_a_virtual_environment_are_seen(checkout: Path) -> None:
    """Since 26.03 the image's python3 is one, first on PATH; it is also what install_beside.py is run with."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / "venv"], check=True)
    (checkout / "site" / "tensorrt_llm").rename(next((checkout / "venv" / "lib").iterdir()) / "site-packages" / "tensorrt_llm")
    assert run(checkout, PATH=f"{checkout / 'venv' / 'bin'}:{os.environ['PATH']}") == ["made", "ran"]


@pytest.mark.process
def test_a_py3_image_gets_tensorrt_in_its_tritons_version(checkout: Path) -> None:
    shutil.rmtree(checkout / "site" / "tensorrt_llm")
    (checkout / "triton" / "backends" / "tensorrt").mkdir(parents=True)
    assert run(checkout, TRT_VERSION="11.1.0.106", TRITON_ROOT=str(checkout / "triton")) == ["made", "ran"]
    assert (checkout / "installed").read_text().startswith(".venv-gpu|--extra|tensorrt|--with|pytest|")


@pytest.mark.process
@pytest.mark.parametrize(("settings", "marked"), [("0", "gpu and not settings"), ("1", "gpu"), ("", "gpu")])
def test_what_writes_settings_can_be_left_out(checkout: Path, settings: str, marked: str) -> None:
    run(checkout, SETTINGS=settings)
    assert (checkout / "asked").read_text().startswith(f"-m|pytest|-m|{marked}|-rs|")


def test_every_test_on_a_gpu_that_sets_something_is_marked_so() -> None:
    """By its text: a flag of `gpu lock` that sets, or a scenario's `gpu:` key."""
    flags = (
        r"--(sm-clock|memory-clock|power-limit|compute-mode|persistence)|gpu\.(sm_clock|memory_clock|power_limit|compute_mode|persistence)"
    )
    setting = []
    for path in [*ROOT.glob("tests/gpu/test_*.py"), *ROOT.glob("tests/telemetry/test_*.py"), *ROOT.glob("tests/on_gpu/*.py")]:
        text = path.read_text("utf-8")
        if "mark.gpu" in text or path.parent.name == "on_gpu":
            functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
            setting += [node for node in functions if re.search(flags, ast.get_source_segment(text, node) or "")]
    assert len(setting) == 2
    assert all(ast.unparse(node.decorator_list[0]) == "pytest.mark.settings" for node in setting)
