"""Reloads of the real server under load, end to end."""

from __future__ import annotations

from typing import Any

import pytest
from serving.runs import MINI, StartRun, run_of, the_deployment

from trtbench.analysis.reloads import reloads

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True)]

RELOADED: dict[str, Any] = MINI | {
    "load": [{"mode": "constant", "rate": 2, "duration_s": 30}],
    "hot_reload": {"before_s": 2, "every_s": 9, "reloads": [{"kind": "new_version"}, {"kind": "broken"}, {"kind": "unload_load"}]},
}


def test_a_new_version_takes_over_a_broken_one_does_not_and_nothing_is_left_half_done(start_run: StartRun) -> None:
    command = start_run(RELOADED)
    assert command.wait(110) == 0, command.err
    run, deployment = run_of(command), the_deployment(run_of(command))
    found = reloads([e for e in run.events() if e.deployment == deployment.name], deployment.requests(), deployment.samples())
    assert found
    new, broken, again = found.reloads
    assert (new.loaded, broken.loaded, again.loaded) == (True, False, True)
    assert all(one.as_meant for one in found.reloads)
    assert "broken on purpose" in broken.error and "2" in (broken.served_on or ())
    assert set(new.failed) <= {"never_sent"} and not broken.failed
    assert {"1", "2"} == set(found.versions)
    assert new.overlap_ns is not None and new.first_request_penalty_ns is None  # too few requests before for a median
    assert sorted(path.name for path in (deployment.path / "model_repository" / "smollm2-135m").iterdir()) == ["1", "2", "config.pbtxt"]
    report = (run.path / "report.md").read_text()
    assert "Hot reload" in report and "did not load; version 2 serves on" in report
