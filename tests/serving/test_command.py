"""What counts as a run that came to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import ran


@pytest.mark.parametrize(
    ("code", "invalid", "expected"),
    [
        (0, [], True),
        (1, [], False),
        (4, [], False),
        (4, ["send_lag"], True),
        (4, ["coalesced", "send_lag"], True),
        (4, ["send_lag", "equation"], False),
    ],
)
def test_an_invalid_verdict_is_a_busy_machines_or_a_fault(tmp_path: Path, code: int, invalid: list[str], expected: bool) -> None:
    reasons = [{"code": one, "grade": "invalid"} for one in invalid] + [{"code": "few_samples", "grade": "suspect"}]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "summary.json").write_text(json.dumps({"verdict": {"reasons": reasons}}))
    assert ran(code, tmp_path) is expected
