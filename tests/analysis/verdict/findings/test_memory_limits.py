"""Pages that the host reads back, a cold prefix cache, and the step of latency with its cause."""

from __future__ import annotations

import pytest

from tests.support.finding_rules import Change, found, resources, reusing, same, slower_at_8
from trtbench.analysis.summary import Summary


@pytest.mark.parametrize(
    ("faults", "pages", "expected"), [(21.0, None, True), (None, 101.0, True), (20.0, 100.0, False), (None, None, False)]
)
def test_memory_of_the_host_is_short(summary: Summary, faults: float | None, pages: float | None, expected: bool) -> None:
    finding = found(summary, resources(server_major_faults_per_s=faults, swapped_in_pages_per_s=pages)).get("host_memory_short")
    assert (finding is not None) is expected
    assert finding is None or (finding.limits and finding.figures["faults_per_s"] == (faults or 0))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({"c1": 0.1, "c4": 0.6}, True),
        ({"c1": 0.5, "c4": 0.6}, False),
        ({"c1": 0.0, "c4": 0.1}, False),
        ({"c1": 0.1}, False),
        ({"c1": 0.6, "c4": 0.1}, False),
    ],
    ids=["cold", "warm", "nothing to reuse", "one stage", "the later one is cold"],
)
def test_a_cold_prefix_cache(summary: Summary, ratios: dict[str, float], expected: bool) -> None:
    finding = found(summary, reusing(**ratios), prefix_caching=True).get("prefix_cache_cold")
    assert (finding is not None) is expected
    assert finding is None or (finding.stage, finding.figures["warm_stage"], len(finding.rests_on)) == ("c1", "c4", 2)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (slower_at_8(1_200_000_000), "step_queue"),
        (slower_at_8(1_200_000_000, paused=3), "step_kv"),
        (slower_at_8(1_200_000_000, peak=0.95), "step_kv"),
        (slower_at_8(1_200_000_000, paused=3, faults=500), "step_memory"),
    ],
)
def test_the_cause_of_a_step_of_latency(summary: Summary, change: Change, cause: str) -> None:
    codes = found(summary, change)
    assert {code for code in codes if code.startswith("step_")} == {cause}
    assert (codes[cause].figures["gain_ratio"], codes[cause].figures["from_users"], len(codes[cause].rests_on)) == (2.0, 4, 2)


def test_no_cause_no_step(summary: Summary) -> None:
    assert not any(code.startswith("step_") for code in found(summary, slower_at_8(900_000_000))), "the queue is under half of it"
    assert not any(code.startswith("step_") for code in found(summary, same))
