from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.facts import parameters
from trtbench.scenario.load.stage import Stage


@pytest.mark.parametrize(
    ("stage", "row", "said"),
    [
        ({"concurrency": 8, "requests": 1}, "Concurrent users", "8"),
        ({"concurrency": 8, "requests": 1, "think_s": 1.5}, "Concurrent users", "8 (thinking 1.50 s)"),
        ({"concurrency": {"from": 10, "to": 1000}, "duration_s": 9}, "Concurrent users", "10 → 1000"),
        ({"mode": "poisson", "rate": {"from": 1, "to": 20}, "duration_s": 9}, "Arrival rates", "1 → 20/s (Poisson)"),
        ({"mode": "gamma", "rate": 2, "burstiness": 0.5, "requests": 9}, "Arrival rates", "2/s (gamma)"),
        ({"mode": "burst", "rate": 6, "on_s": 2, "off_s": 3, "duration_s": 9}, "Arrival rates", "6/s (bursts) 2.00 s on / 3.00 s off"),
        ({"mode": "trace", "trace": "a/b.jsonl", "speed": 2}, "Arrival rates", "trace at 2× (b.jsonl, with its own lengths)"),
    ],
)
def test_what_load_was_asked(summary: Summary, stage: dict[str, object], row: str, said: str) -> None:
    scenario = summary.scenario.model_copy(update={"load": (Stage.model_validate(stage),)})
    (table,) = parameters(replace(summary, scenario=scenario), Words("en"))
    assert isinstance(table, Table)
    rows = dict(table.rows)
    assert rows[row] == said
    assert len({"Concurrent users", "Arrival rates"} & set(rows)) == 1
