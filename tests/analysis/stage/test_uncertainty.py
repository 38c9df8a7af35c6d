"""The uncertainty of one stage: intervals of its rates and means, of its error ratio, and its steadiness."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.queues import PLANTED, mm1_times
from tests.support.records import MS, S, columns, request_of
from trtbench.analysis.stage.outcomes import conservation
from trtbench.analysis.stage.throughput import throughput
from trtbench.analysis.stage.uncertainty import Uncertainty, progress, uncertainty
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.measurement import Slo


def of(records: list[RequestRecord], users: float | None = None, one_level: bool = True) -> Uncertainty:
    requests, slo = columns(records), Slo(e2e_latency_ms=1000)
    return uncertainty(
        requests, conservation(requests, len(records)), throughput(requests, len(records), slo, None), slo, None, users, one_level
    )


def one_after_another(latencies_s: list[float], tokens: int = 4) -> list[RequestRecord]:
    """A closed loop of one user."""
    ends = np.cumsum(latencies_s)
    return [
        request_of(round((end - length) * S), [round((end - length * (1 - share)) * S) for share in np.linspace(0.25, 1, tokens)])
        for end, length in zip(ends.tolist(), latencies_s, strict=True)
    ]


def test_rates_and_means_have_half_widths_in_their_units() -> None:
    random = np.random.default_rng(5)
    latencies = random.normal(0.1, 0.02, 400)
    found = of(one_after_another(latencies.tolist()), users=1)
    widths = found.half_widths
    assert set(widths) == {"request_throughput", "output_token_throughput", "goodput", "ttft_ns", "tpot_ns", "e2e_latency_ns"}
    assert widths["e2e_latency_ns"] == pytest.approx(2.26 * 20 * MS / 400**0.5, rel=0.6) and isinstance(widths["e2e_latency_ns"], int)
    relative = widths["e2e_latency_ns"] / (100 * MS)
    assert widths["request_throughput"] == pytest.approx(10 * relative, rel=0.2), "one user: the rate is 1 / latency"
    assert widths["output_token_throughput"] == pytest.approx(40 * relative, rel=0.2)
    assert found.steadiness and found.steadiness.kind == "steady"
    assert len(found.token_blocks) == 10 and np.mean(found.token_blocks) == pytest.approx(40, rel=0.05)


def test_few_requests_have_blocks_and_no_intervals() -> None:
    found = of(one_after_another([0.1] * 24), users=1)
    assert found.half_widths == {} and found.steadiness is None
    assert found.request_blocks == pytest.approx([10.0] * 10)
    assert of(one_after_another([0.1] * 19)).request_blocks == ()


def test_a_stage_that_is_mostly_drain_has_no_rates() -> None:
    burst = [request_of(i * MS, [(i + 1) * S]) for i in range(120)]
    assert set(of(burst).half_widths) <= {"ttft_ns", "e2e_latency_ns"}


def test_a_request_counts_evenly_until_its_end() -> None:
    requests = columns([request_of(0, [100]), request_of(100, [300])])
    assert progress(requests, np.array([1, 4]), np.array([0.0, 50, 150, 300])).tolist() == [0.5, 1.5, 3.0]


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_a_planted_change_of_a_closed_loop_is_found(kind: str) -> None:
    random = np.random.default_rng(5)
    latencies = PLANTED[kind](np.arange(300) / 300) * random.normal(0.1, 0.01, 300)
    assert of(one_after_another(latencies.tolist()), users=1).changed
    assert not of(one_after_another(latencies.tolist()), users=1, one_level=False).changed, "a ramp is meant to change"


def test_an_open_loop_at_a_high_utilisation_is_not_said_to_change() -> None:
    random = np.random.default_rng(5)
    due = np.cumsum(random.exponential(1 / 0.8, 1000))
    records = [request_of(round(at * S), [round((at + length) * S)]) for at, length in zip(due, mm1_times(1000, 0.8, random), strict=True)]
    assert not of(records).changed


def test_the_error_ratio_has_the_interval_of_few_counts_or_one_that_knows_bursts() -> None:
    fine, failed = request_of(0, [MS]), request_of(0, [], Outcome.TIMEOUT, done_ns=MS)
    assert of([fine] * 24).error_ratio == pytest.approx((0.0, 0.1425), abs=1e-3)
    assert of([fine] * 23 + [failed]).error_ratio == pytest.approx((0.00105, 0.2112), abs=1e-3)
    random = np.random.default_rng(5)
    bursts = np.repeat(random.random(40) < 0.25, 25)
    spread = [
        request_of(i * MS, [i * MS + 5]) if ok else request_of(i * MS, [], Outcome.TIMEOUT, done_ns=i * MS + 5)
        for i, ok in enumerate(~bursts)
    ]
    mixed = random.permutation(np.array(spread, object)).tolist()
    even = [
        request_of(i * MS, [i * MS + 5])
        if one.outcome is Outcome.COMPLETED
        else request_of(i * MS, [], Outcome.TIMEOUT, done_ns=i * MS + 5)
        for i, one in enumerate(mixed)
    ]
    lower, upper = of(spread).error_ratio or (0, 0)
    low, high = of(even).error_ratio or (0, 0)
    assert upper - lower > 1.5 * (high - low)
    assert Uncertainty().error_ratio is None
