from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from trtbench.cli.exporting import EXPORT_EXAMPLES
from trtbench.cli.main import main

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.whole_run


@pytest.mark.parametrize("line", [line.strip() for line in EXPORT_EXAMPLES.splitlines() if line.startswith("  ")])
def test_the_examples_of_help_run(line: str, tmp_path: Path) -> None:
    _, verb, run, *arguments = shlex.split(line)
    output = tmp_path / arguments.pop()
    done = CliRunner().invoke(main, [verb, str(ROOT / run), *arguments, str(output)])
    assert done.exit_code == 0, done.output
    written = {str(path) for path in output.rglob("*.*")}
    assert written == {line for line in done.stdout.splitlines() if line.startswith(str(output))} and written
    assert "Not in these files: " in done.stderr


def test_an_existing_directory_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(ROOT / "examples" / "precision"), "--format", "csv", "--output", str(tmp_path)])
    assert done.exit_code != 0
    assert list(tmp_path.iterdir()) == []
