"""scripts/test_gpu.sh where the system's Python has a package of TensorRT-LLM's name: its environment is made once for one image."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_INSTALL = """
import pathlib, sys
program = pathlib.Path(sys.argv[1], "bin", "python")
program.parent.mkdir(parents=True)
program.write_text("#!/bin/sh\\necho ran\\n")
program.chmod(0o755)
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


def run(checkout: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout / "site"), "PYTHON": "python3"}
    done = subprocess.run(["bash", "scripts/test_gpu.sh"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_one_image_one_environment(checkout: Path) -> None:
    assert (run(checkout), run(checkout)) == (["made", "ran"], ["ran"])


@pytest.mark.parametrize("changed", ["constraints.txt", "pyproject.toml", "site/tensorrt_llm/__init__.py"])
def test_what_it_was_made_of_has_changed(checkout: Path, changed: str) -> None:
    run(checkout)
    (checkout / changed).write_text("# another\n")
    assert run(checkout) == ["made", "ran"]
