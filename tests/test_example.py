"""The run in examples/ is read, and its report has the figures that stand beside it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from tests.keep_recorded_run import machine_words
from tests.recorded_run import differences, figures
from trtbench.cli.main import main

pytestmark = pytest.mark.whole_run

EXAMPLE = Path(__file__).parents[1] / "examples" / "precision"
AGAIN = "where that is meant, write it again: .venv/bin/trtbench report examples/precision"


def test_the_report_of_the_example_is_the_one_beside_it(tmp_path: Path) -> None:
    run = shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name)
    with patch("trtbench.report.figures.plots.draw", return_value={}):
        result = CliRunner().invoke(main, ["report", str(run), "--format", "md,json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    old, new = (json.loads((path / "summary.json").read_text(encoding="utf-8")) for path in (EXAMPLE, run))
    assert list(differences(old, new))[:20] == [], AGAIN
    figured, plain = (figures(without_images((path / "report.md").read_text(encoding="utf-8"))) for path in (EXAMPLE, run))
    assert figured == plain, AGAIN


def without_images(markdown: str) -> str:
    return re.sub(r"^!\[.*\n", "", markdown, flags=re.MULTILINE)


def test_the_example_has_its_pictures_and_no_script() -> None:
    markdown, html = ((EXAMPLE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    shown = re.findall(r"\]\((plots/[^)]+)\)", markdown)
    assert {f"plots/{path.name}" for path in EXAMPLE.glob("plots/*")} == set(shown)
    assert "<script" not in html
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 1_000_000


def test_no_file_of_the_example_names_the_machine(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name, ignore=shutil.ignore_patterns("plots", "report.html"))
    assert machine_words(copy) == []
