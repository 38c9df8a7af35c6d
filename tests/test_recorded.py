"""Run directories of every kind of scenario, recorded by an earlier version, are read as they were: every figure is the same.

Where a change of figures is meant, `.venv/bin/python tests/recorded_run.py [KIND ...]` writes the expected files anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.recorded_run import KINDS, RECORDED, differences, expected, figures, report

pytestmark = pytest.mark.whole_run


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_are_those_of_the_recording_version(kind: str, tmp_path: Path) -> None:
    summary, markdown = report(kind, tmp_path)
    old_summary, old_markdown = expected(kind)
    assert list(differences(old_summary, summary))[:20] == []
    assert figures(markdown) == figures(old_markdown)


def test_every_scenario_that_was_recorded_is_there() -> None:
    assert {path.stem for path in RECORDED.glob("scenarios/*.yaml")} | {"bench", "bench-rate"} == set(KINDS)


def test_a_changed_figure_is_seen() -> None:
    old: dict[str, Any] = {"p50": 74_836_342, "wall_s": 15.7, "complete": True, "findings": []}
    assert list(differences(old, old | {"wall_s": 15.7 * (1 + 1e-15)})) == []
    assert list(differences({"half_width": 1.9e-13}, {"half_width": 8.4e-14})) == []
    changes: tuple[dict[str, Any], ...] = (
        {"p50": 74_836_343},
        {"wall_s": 15.7 * (1 + 1e-9)},
        {"complete": 1},
        {"findings": [{}]},
        {"p99": None},
    )
    for change in changes:
        assert len(list(differences(old, old | change))) == 1
    assert figures("| c1 | P50 of 24 | 1,000.5 | - | 4.2% |\n| --- | ---: |\nAbout INT8: -3 in 2 s.\n") == [
        ("24", "1,000.5", "-", "4.2"),
        ("-3", "2"),
    ]
