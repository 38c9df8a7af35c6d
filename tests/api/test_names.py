"""The public names: which they are, that each is there, and that the import of the package alone costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import trtbench

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "Event",
    "Run",
    "RunDirectoryError",
    "RunFailed",
    "RunInterrupted",
    "Scenario",
    "ScenarioError",
    "Summary",
    "UserError",
    "__version__",
    "load_run",
    "serve_and_bench",
}
AT_START = """
import sys
before = set(sys.modules)
import trtbench
print(*sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names))
"""


def test_a_public_name_is_never_taken_away_by_accident() -> None:
    assert set(trtbench.__all__) == PUBLIC
    assert set(dir(trtbench)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    found = getattr(trtbench, name)
    assert name == "__version__" or found.__doc__
    assert name == "__version__" or found.__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trtbench' has no attribute 'load_runs'"):
        getattr(trtbench, "load_runs")  # noqa: B009 - as an attribute it would be a useless expression


@pytest.mark.process
def test_the_package_itself_imports_nothing_but_itself() -> None:
    done = subprocess.run([sys.executable, "-c", AT_START], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stdout.split() == ["trtbench"]


def test_every_public_name_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in sorted(PUBLIC - {"__version__"}) if f"`{name}" not in page and f"`trtbench.{name}" not in page] == []
