"""Reports the recorded run directories below tests/recorded/, and writes the figures that tests/test_recorded.py expects of them.

`.venv/bin/python tests/recorded_run.py [KIND ...]` writes the expected files of these kinds, of all by default, from today's code.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from trtbench.cli.main import main

RECORDED = Path(__file__).parent / "recorded"
KINDS = sorted(path.parent.name for path in RECORDED.glob("*/environment.json"))
SUMMARY, MARKDOWN = "expected_summary.json.gz", "expected_report.md.gz"
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
_ABSENT = "-"
_TOLERANCE = 1e-12
"""Relative and absolute: the slope of constant readings is 1e-13 or -8e-14, depending on the CPU."""
_NOISE = re.compile(r"-(?=0\.0+(?!\d))")

Report = tuple[Any, str]
"""(summary.json, report.md)."""


def report(kind: str, directory: Path) -> Report:
    """Runs `trtbench report` on a copy of the run in `directory`, without its plots, which take most of the time."""
    run = directory / kind
    shutil.copytree(RECORDED / kind, run, ignore=shutil.ignore_patterns("expected_*"))
    with patch("trtbench.report.figures.plots.draw", return_value={}):
        result = CliRunner().invoke(main, ["report", str(run), "--format", "md,json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((run / "summary.json").read_text(encoding="utf-8")), (run / "report.md").read_text(encoding="utf-8")


def expected(kind: str) -> Report:
    summary, markdown = (gzip.decompress((RECORDED / kind / name).read_bytes()).decode() for name in (SUMMARY, MARKDOWN))
    return json.loads(summary), markdown


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ; numbers that are not both integers may differ by the rounding of a sum, a spread of equal ones too."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key, "absent"), right.get(key, "absent"), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _equal(left, right):
        yield f"{path}: {_shown(left)} became {_shown(right)}"


def figures(markdown: str) -> list[tuple[str, ...]]:
    """The numbers of each line, and of a row of a table those of each cell; a cell without a number counts where it says so."""
    lines = _NOISE.sub("", markdown).splitlines()
    rows = [_cells(line) if line.startswith("|") else tuple(_NUMBER.findall(line)) for line in lines]
    return [row for row in rows if row]


def _cells(line: str) -> tuple[str, ...]:
    cells = (cell.strip() for cell in line.strip("|").split(" | "))
    return tuple(number for cell in cells for number in ([cell] if cell == _ABSENT else _NUMBER.findall(cell)))


def _equal(left: Any, right: Any) -> bool:
    if float in (type(left), type(right)) and not {type(left), type(right)} - {int, float}:
        return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return type(left) is type(right) and left == right


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."


def accept(kind: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        summary, markdown = report(kind, Path(directory))
    for name, text in ((SUMMARY, json.dumps(summary, separators=(",", ":"), ensure_ascii=False)), (MARKDOWN, markdown)):
        (RECORDED / kind / name).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    for one in sys.argv[1:] or KINDS:
        accept(one)
