"""Each finding of a reload on a run where it was planted, and none where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.having import having
from tests.support.records import columns, samples_of
from tests.support.runs.synthetic_reloads import NO_SAMPLES, S, events, planned_reloads, requests
from trtbench.analysis.summary import Summary
from trtbench.experiments.hot_reload.analysis import reload_findings, reload_reasons
from trtbench.experiments.hot_reload.reloads import RELOADS, Reloads, Rise, reloads, rise


def clean() -> Reloads:
    """Its one spike is the planted one of 8 times."""
    found = reloads(events(), columns(requests()), NO_SAMPLES)
    assert found
    return found


def with_first(**changes: Any) -> Callable[[Reloads], Reloads]:
    return lambda found: replace(found, reloads=(replace(found.reloads[0], **changes), *found.reloads[1:]))


def codes(summary: Summary, found: Reloads, max_spike: float = 10.0) -> list[str]:
    scenario = planned_reloads(max_spike=max_spike)
    return [finding.code for finding in reload_findings(having(summary.deployments[0], {RELOADS: found}), scenario)]


def test_a_clean_run_has_none(summary: Summary) -> None:
    assert codes(summary, clean()) == []
    assert list(reload_findings(summary.deployments[0], summary.scenario)) == []


def test_a_spike_over_the_bound(summary: Summary) -> None:
    (finding,) = reload_findings(having(summary.deployments[0], {RELOADS: clean()}), planned_reloads(max_spike=7.9))
    assert finding.code == "reload_spiked" and finding.severity == "warning"
    assert finding.figures["spike_factor"] == 8.0 and finding.figures["number"] == 1 and finding.figures["metric"] == "TTFT"
    assert codes(summary, clean(), max_spike=8.1) == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (with_first(loaded=False, error="no memory", served_on=("1",)), "reload_failed"),
        (with_first(kind="broken"), "reload_broken_loaded"),
        (with_first(kind="broken", loaded=False, load_s=None, served_on=("1",)), "reload_failed"),  # the server was never asked
        (with_first(kind="broken", loaded=False, served_on=()), "reload_took_down"),
        (with_first(failed={"unavailable": 3}), "reload_lost"),
        (with_first(kind="unload_load", failed={"unavailable": 3}), "reload_gap"),
        (with_first(recovery_ns=None), "reload_no_recovery"),
    ],
)
def test_what_was_planted_is_found_alone(summary: Summary, changed: Callable[[Reloads], Reloads], code: str) -> None:
    assert codes(summary, changed(clean())) == [code]


def test_the_loads_own_end_is_no_loss(summary: Summary) -> None:
    assert codes(summary, with_first(failed={"never_sent": 4, "cancelled": 1})(clean())) == []


@pytest.mark.parametrize(
    ("series", "rises", "code"),
    [
        ("server_rss_bytes", Rise(5e6, 1e6, 6, 1e8), "reload_leak_bytes"),
        ("gpu_memory_used_bytes", Rise(5e6, 1e6, 6, 1e8), "reload_leak_bytes"),
        ("server_fds", Rise(2.0, 0.5, 6, 40.0), "reload_leak_count"),
        ("server_fds", Rise(2.0, 2.5, 6, 40.0), None),  # its interval holds zero
        ("server_fds", Rise(0.1, 0.01, 6, 40.0), None),  # sure, and nothing
        ("server_fds", Rise(2.0, 0.5, 4, 40.0), None),  # too few readings
    ],
)
def test_a_leak_must_be_sure_and_large(summary: Summary, series: str, rises: Rise, code: str | None) -> None:
    found = replace(clean(), rises={series: rises})
    assert codes(summary, found) == ([code] if code else [])


def test_a_planted_rise_and_its_interval() -> None:
    borders = [i * S for i in range(6)]
    straight = rise(samples_of({("x", ""): [(at, 100.0 + 3 * i) for i, at in enumerate(borders)]}).series("x"), borders)
    assert straight and straight.per_reload == pytest.approx(3) and straight.half_width == pytest.approx(0, abs=1e-9)
    noisy = rise(samples_of({("x", ""): [(at, value) for at, value in zip(borders, [1, 5, 2, 4, 3, 3], strict=True)]}).series("x"), borders)
    assert noisy and noisy.half_width > abs(noisy.per_reload) and not noisy.is_leak


@given(st.integers(-1000, 1000), st.integers(0, 10**6), st.integers(3, 30))
def test_any_planted_rise_comes_back(per_reload: int, start: int, borders: int) -> None:
    instants = [i * S for i in range(borders)]
    found = rise(samples_of({("x", ""): [(at, float(start + per_reload * i)) for i, at in enumerate(instants)]}).series("x"), instants)
    assert found and found.readings == borders
    assert found.per_reload == pytest.approx(per_reload, abs=1e-6) and found.half_width == pytest.approx(0, abs=1e-3)


def test_reasons_for_doubt(summary: Summary) -> None:
    def said(found: Reloads | None, repeats: int = 2) -> list[str]:
        return [r.code for r in reload_reasons(having(summary.deployments[0], {RELOADS: found}), planned_reloads(repeats))]

    found = clean()
    assert said(found, repeats=1) == ["reloads_once"]
    twice = replace(found, reloads=found.reloads * 2)
    assert said(twice) == []
    assert said(found) == ["reloads_missing"] and said(None) == ["reloads_missing"]
    assert said(replace(twice, reloads=(replace(found.reloads[0], before=None), *twice.reloads[1:]))) == ["reload_few_before"]
