from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, S, columns, request_of
from trtbench.analysis.stage.throughput import Throughput, Window, keeps, measured_window, throughput
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.measurement import Slo

NO_SLO = Slo()


def test_rates_by_hand() -> None:
    requests = [request_of(0, [1 * S, 2 * S]), request_of(1 * S, [3 * S, 4 * S]), request_of(2 * S, [], Outcome.REJECTED)]
    rates = throughput(columns(requests), 3, Slo(e2e_latency_ms=2500), None)
    assert rates == Throughput(4.0, 2, 4, 0.5, 1.0, 1.0, 0.25, 1 / 3, input_token_throughput=20 / 4, inference_throughput=0.5)


def test_a_stage_that_ends_by_time_leaves_its_drain_out() -> None:
    requests = [request_of(0, [1 * S, 2 * S]), request_of(0, [3 * S, 9 * S])]
    assert measured_window(columns(requests), 5.0) == Window(0, 2 * S)
    rates = throughput(columns(requests), 2, NO_SLO, 5.0)
    assert (rates.completed, rates.output_tokens, rates.request_throughput) == (1, 2, 0.5)
    assert measured_window(columns(requests), 1.0) == Window(0, 9 * S), "nothing was done in time: the drain is all there is"
    assert measured_window(columns(requests), None) == Window(0, 9 * S)


def test_nothing_done_gives_no_rate() -> None:
    unsent = request_of(0, [], Outcome.NEVER_SENT, sent_ns=None, done_ns=None)
    for requests in ([], [unsent]):
        assert throughput(columns(requests), len(requests), NO_SLO, None).request_throughput is None


def test_tokens_of_a_request_that_failed_later_did_arrive() -> None:
    requests = [request_of(0, [1 * S, 2 * S], Outcome.TIMEOUT, done_ns=4 * S)]
    assert throughput(columns(requests), 1, NO_SLO, None).output_token_throughput == 0.5


@pytest.mark.parametrize(
    ("slo", "kept"),
    [
        ({"ttft_ms": 10}, True),
        ({"ttft_ms": 9.999}, False),
        ({"itl_ms": 30}, True),
        ({"itl_ms": 29}, False),  # the worst gap counts
        ({"tpot_ms": 25}, True),
        ({"tpot_ms": 24}, False),
        ({"e2e_latency_ms": 60, "ttft_ms": 10}, True),
        ({"e2e_latency_ms": 59, "ttft_ms": 10}, False),
    ],
)
def test_every_limit_that_is_set_must_hold(slo: dict[str, float], kept: bool) -> None:
    assert keeps(columns([request_of(0, [10 * MS, 30 * MS, 60 * MS])]), Slo(**slo)).tolist() == [kept]


def test_without_a_first_token_no_limit_on_it_is_kept() -> None:
    """A run directory of before the class `empty` may have such a completed request."""
    silent = request_of(0, [], asked_output_tokens=8)
    assert not keeps(columns([silent]), Slo(ttft_ms=1000)) and keeps(columns([silent]), Slo(e2e_latency_ms=1000))
    assert not keeps(columns([request_of(0, [], Outcome.EMPTY, asked_output_tokens=8)]), Slo(e2e_latency_ms=1000))


def test_a_failed_request_keeps_no_slo_and_a_missing_figure_breaks_none() -> None:
    assert not keeps(columns([request_of(0, [1], Outcome.OTHER)]), NO_SLO)
    assert keeps(columns([request_of(0, [1 * MS])]), Slo(tpot_ms=1, itl_ms=1))


def test_goodput_is_not_judged_by_what_was_cancelled_as_planned() -> None:
    gone = request_of(0, [1 * MS], Outcome.CANCELLED, planned_cancel=True)
    rates = throughput(columns([gone, request_of(0, [1 * MS]), request_of(0, [9 * MS])]), 4, Slo(ttft_ms=2), None)
    assert rates.goodput_ratio == 1 / 3


@st.composite
def loads(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    return draw(st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 10**9), st.booleans()), min_size=1, max_size=40))


@given(loads(), st.floats(1, 1000))
def test_goodput_never_exceeds_throughput_and_windows_hold_what_they_count(load: list[tuple[int, int, bool]], limit_ms: float) -> None:
    requests = [request_of(due, [due + length], Outcome.COMPLETED if good else Outcome.OTHER) for due, length, good in load]
    rates = throughput(columns(requests), len(requests), Slo(e2e_latency_ms=limit_ms), None)
    assert rates.request_throughput is not None and rates.goodput is not None and rates.goodput_ratio is not None
    assert rates.goodput <= rates.request_throughput
    assert rates.completed == sum(good for *_, good in load)
    assert 0 <= rates.goodput_ratio <= 1
    assert rates.request_throughput * rates.window_s == pytest.approx(rates.completed)
