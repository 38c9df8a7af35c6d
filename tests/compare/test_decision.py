"""What gates decide, on planted intervals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.named_figures import named_figures
from trtbench.compare.decision import decide, outcome_of
from trtbench.compare.difference import Difference
from trtbench.compare.gate import read_gate
from trtbench.compare.interval import ShareDifference, ShareInterval, TInterval


def latency(change: float, half: float, stage: str = "c8", **other: object) -> Difference:
    interval = TInterval(change, change - half, change + half, 200)
    own = TInterval(100e6 * (1 + change), 90e6, 115e6, 200)
    given = {"change": interval, "own": own, "requests": 1000} | other
    return Difference("run", "default-int8", stage, named_figures()["ttft.p99"], 100e6, 100e6 * (1 + change), **given)


def one(text: str, *differences: Difference) -> tuple[str, str]:
    (decision,) = decide([read_gate(text)], differences)
    return decision.outcome, decision.why


@pytest.mark.parametrize(
    ("change", "half", "outcome"),
    [(0.2, 0.05, "failed"), (0.08, 0.05, "undecided"), (0.0, 0.03, "passed"), (-0.3, 0.1, "passed"), (0.0, 0.2, "undecided")],
)
def test_the_interval_decides_not_the_value(change: float, half: float, outcome: str) -> None:
    assert one("ttft.p99>+5%", latency(change, half))[0] == outcome


def test_a_condition_downwards() -> None:
    assert one("ttft.p99<-5%", latency(-0.2, 0.05))[0] == "failed"
    assert one("ttft.p99<-5%", latency(0.2, 0.05))[0] == "passed"


def test_a_limit_without_a_sign_is_for_the_candidates_own_value() -> None:
    assert one("ttft.p99>80ms", latency(0, 0.01))[0] == "failed"
    assert one("ttft.p99>120ms", latency(0, 0.01))[0] == "passed"
    assert one("ttft.p99>100ms", latency(0, 0.01)) == ("undecided", "wide")


def test_an_undecided_condition_says_how_many_more_requests_would_decide() -> None:
    (decision,) = decide([read_gate("ttft.p99>+5%")], [latency(0.0, 0.1)])
    assert decision.more_requests == pytest.approx(1000 * (0.1 * 1.6525 / 1.9719 / 0.05) ** 2 - 1000, rel=0.01)
    assert decision.more_rounds == 0
    (of_rounds,) = decide([read_gate("ttft.p99>+5%")], [latency(0.0, 0.1, rounds=4)])
    assert of_rounds.more_rounds == 8


def test_no_errors_pass_only_with_enough_requests() -> None:
    def errors(count: int) -> Difference:
        share = ShareInterval(0, count)
        return Difference("run", "d", "c8", named_figures()["error_ratio"], 0.0, 0.0, None, ShareDifference(share, share), share, count)

    (few,), (many,) = (decide([read_gate("error_ratio>0.1%")], [errors(count)]) for count in (1000, 5000))
    assert (few.outcome, many.outcome) == ("undecided", "passed")
    assert 1500 < few.more_requests < 2000


def test_several_stages_share_the_probability_of_a_wrong_decision() -> None:
    borderline = latency(0.08, 0.028)
    assert one("ttft.p99>+5%", borderline)[0] == "failed"
    outcomes = [decision.outcome for decision in decide([read_gate("ttft.p99>+5%")], [borderline] + [latency(0, 0.01)] * 20)]
    assert outcomes == ["undecided"] + ["passed"] * 20


def test_a_condition_concerns_its_stage_only() -> None:
    worse, fine = latency(0.5, 0.1, "c8"), latency(0, 0.01, "c1")
    assert one("c1:ttft.p99>+5%", worse, fine)[0] == "passed"
    assert one("default-int8/c8:ttft.p99>+5%", worse, fine)[0] == "failed"
    assert one("other/ttft.p99>+5%", worse, fine) == ("undecided", "no_stage")


def test_what_was_not_measured_is_undecided() -> None:
    assert one("ttft.p99>+5%", replace(latency(0, 0.1), change=None)) == ("undecided", "no_interval")
    absent = Difference("run", "d", "c8", named_figures()["ttft.p99"], None, 1.0)
    assert one("ttft.p99>+5%", absent) == ("undecided", "absent")
    lacking = Difference("run", "d", "c8", named_figures()["ttft.p99"], None, None, lacking=400)
    (decision,) = decide([read_gate("ttft.p99>+5%")], [lacking])
    assert (decision.why, decision.more_requests) == ("lacking", 400)


def test_a_failure_counts_most() -> None:
    gates = [read_gate("ttft.p99>+5%")]
    both = decide(gates, [latency(0.5, 0.1), latency(0, 0.2)])
    assert outcome_of(both) == "failed"
    assert outcome_of(both[1:]) == "undecided"
    assert outcome_of(decide(gates, [latency(0, 0.01)])) == "passed"


def test_a_disturbed_stage_is_undecided_unless_forced() -> None:
    disturbed = replace(latency(0.5, 0.1), disturbed=True)
    assert one("ttft.p99>+5%", disturbed) == ("undecided", "disturbed")
    (forced,) = decide([read_gate("ttft.p99>+5%")], [disturbed], force=True)
    assert forced.outcome == "failed"
    assert (disturbed.call(0.02, 1), replace(disturbed, disturbed=False).call(0.02, 1)) == ("disturbed", "worse")
