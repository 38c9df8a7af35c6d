from __future__ import annotations

import pytest

from trtbench.analysis.verdict.verdict import Grade, Reason, verdict


@pytest.mark.parametrize(
    ("grades", "status"),
    [([], "VALID"), (["note"], "VALID"), (["note", "suspect"], "SUSPECT"), (["suspect", "invalid", "note"], "INVALID")],
)
def test_the_worst_reason_decides_and_stands_first(grades: list[Grade], status: str) -> None:
    found = verdict([Reason("x", grade) for grade in grades])
    assert found.status == status
    order = ["invalid", "suspect", "note"]
    assert [order.index(reason.grade) for reason in found.reasons] == sorted(order.index(grade) for grade in grades)
