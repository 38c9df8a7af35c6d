"""Scaling over run directories whose truth is planted: token times, resources and requests by server for each point."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, S, request_of
from tests.support.runs.written_run import Series, Served, summary_of, window
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.stats.usl import fit_law
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.scaling.report import scaling_blocks
from trtbench.experiments.scaling.scaling_curve import SCALINGS, ScalingCurve
from trtbench.report.figures.plots import draw
from trtbench.report.kit.blocks import Paragraph, Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.choices import Language
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run

REQUESTS, TOKENS = 40, 10


@dataclass
class Planted:
    """One point. `steps_ms`: from a request's due to its first token and from token to token, by repeat. `series`: constant readings.

    `shares` are the requests of each server.
    """

    steps_ms: list[float]
    series: dict[str, float] = field(default_factory=dict)
    shares: tuple[int, ...] = ()


BASE: dict[str, Any] = {"inference_threads": 1, "scheduler": {"max_sequences": 4}, "kv_cache": {"blocks": 10}}


def scaling_run(path: Path, points: dict[int, Planted], axis: str = "servers", repeats: int = 1, **more: Any) -> Summary:
    """One user: requests follow each other without pause, so a rate is 1000 / step tokens/s, of an encoder 100 / step requests/s."""
    encodes = more.get("task") == "embed"
    tree = {
        "name": "scaling",
        "task": more.pop("task", "generate"),
        "deployments": {"base": {"inference_threads": 1} if encodes else dict(BASE)},
        "scaling": {axis: list(points), "repeats": repeats, "load": "fixed"} | more,
        "load": [{"concurrency": 1, "requests": REQUESTS}],
    }
    scenario = parse_scenario(tree, "scaling").expanded()
    assert scenario.scaling is not None
    served, time_ns = [], 10 * S
    for name in scenario.deployments:
        _, units = scenario.scaling.point_of(name)
        if len(points[units].steps_ms) >= scenario.scaling.round_of(name):
            served.append(point(scenario, name, points[units], time_ns))
            time_ns = served[-1].windows[-1].end_ns + S
    return summary_of(path, scenario, *served)


def point(scenario: Scenario, name: str, planted: Planted, start_ns: int) -> Served:
    assert scenario.scaling is not None
    (stage,) = scenario.load_of(name)
    step_ns = round(planted.steps_ms[scenario.scaling.round_of(name) - 1] * MS)
    records, end_ns = [], start_ns
    for i in range(REQUESTS):
        done_ns = end_ns + step_ns * TOKENS
        tokens = [] if scenario.task == "embed" else [end_ns + step_ns * (k + 1) for k in range(TOKENS)]
        records.append(request_of(end_ns, tokens, index=i, prompt=i, stage=stage.label, done_ns=done_ns))
        end_ns = done_ns
    windows = [window(stage.label, start_ns, end_ns, REQUESTS, stage.level)]
    facts = {"servers": scenario.deployments[name].replicas.count}
    return Served(records, windows, series_of(planted, start_ns, end_ns), facts=facts, deployment=name, dtype="fp16")


def series_of(planted: Planted, start_ns: int, end_ns: int) -> Series:
    middle_ns, series = (start_ns + end_ns) // 2, Series()
    for name, value in planted.series.items():
        kind, _, label = name.partition(":")
        series[kind, label] = [(middle_ns, value), (middle_ns + MS, value)]
    for server, count in enumerate(planted.shares):
        series["replica_success_count", str(server)] = [(start_ns, 7), (end_ns, 7 + count)]
    return series


def the_curve(summary: Summary) -> ScalingCurve:
    (curve,) = summary.found[SCALINGS]
    return curve


def codes(summary: Summary) -> list[str]:
    return [finding.code for finding in summary.findings if finding.code.startswith(("scaling", "replicas"))]


def test_linear_scaling_has_no_bend_and_no_finding(tmp_path: Path) -> None:
    summary = scaling_run(tmp_path / "run", {1: Planted([16]), 2: Planted([8], shares=(20, 20)), 4: Planted([4]), 8: Planted([2])})
    curve = the_curve(summary)
    assert [point.units for point in curve.points] == [1, 2, 4, 8]
    assert [point.efficiency for point in curve.points] == [Estimate(pytest.approx(1.0), None, 1)] * 4
    assert [point.speedup.mean for point in curve.points if point.speedup] == pytest.approx([1, 2, 4, 8])
    assert (curve.bend, curve.bend_clear, curve.limiters) == (None, None, ())
    assert curve.law is not None and curve.law.peak_units is None and curve.law.contention == pytest.approx(0, abs=1e-9)
    assert curve.points[1].requests == (20, 20)
    assert codes(summary) == []


def test_the_bend_is_the_first_point_below_the_bound_with_its_interval(tmp_path: Path) -> None:
    points = {1: Planted([20, 20, 20]), 2: Planted([10, 10, 10]), 4: Planted([8, 8, 10]), 8: Planted([8, 8, 8])}
    curve = the_curve(scaling_run(tmp_path / "run", points, repeats=3))
    assert [point.repeats for point in curve.points] == [3] * 4
    four = curve.points[2]
    assert curve.bend == four and curve.bend_clear
    assert four.efficiency is not None
    assert four.efficiency.mean == pytest.approx((0.625 + 0.625 + 0.5) / 3)
    assert four.efficiency.half_width == pytest.approx(4.303 * 0.0721688 / 3**0.5, rel=1e-4)  # stdev of 0.625, 0.625, 0.5
    assert curve.points[3].efficiency == Estimate(pytest.approx(0.3125), pytest.approx(0), 3)


def test_pairs_of_a_round_take_a_drift_out(tmp_path: Path) -> None:
    """The machine gets twice as slow from round to round; every pair says the same."""
    curve = the_curve(scaling_run(tmp_path / "run", {1: Planted([10, 20, 40]), 2: Planted([8, 16, 32])}, repeats=3))
    assert curve.points[1].efficiency == Estimate(pytest.approx(0.625), pytest.approx(0), 3)
    assert curve.bend_clear


def test_a_bend_whose_interval_reaches_over_the_bound_is_not_clear(tmp_path: Path) -> None:
    curve = the_curve(scaling_run(tmp_path / "run", {1: Planted([10, 10]), 2: Planted([8, 5.2])}, repeats=2))
    assert curve.bend is not None and curve.bend_clear is False


def test_a_missing_repeat_is_left_out_of_pairs(tmp_path: Path) -> None:
    curve = the_curve(scaling_run(tmp_path / "run", {1: Planted([10]), 2: Planted([5, 1])}, repeats=2))
    one, two = curve.points
    assert (one.complete, two.complete) == (False, True)
    assert two.efficiency == Estimate(pytest.approx(1.0), None, 1)


def test_the_law_is_found_in_a_whole_run(tmp_path: Path) -> None:
    steps = {n: (1 + 0.2 * (n - 1) + 0.02 * n * (n - 1)) / n * 20 for n in (1, 2, 4, 8)}
    curve = the_curve(scaling_run(tmp_path / "run", {n: Planted([step]) for n, step in steps.items()}))
    assert curve.law is not None and curve.contention is not None and curve.coherency is not None
    assert curve.law.contention == pytest.approx(0.2, abs=1e-4)
    assert curve.law.coherency == pytest.approx(0.02, abs=1e-4)
    assert curve.law.peak_units == pytest.approx((0.8 / 0.02) ** 0.5, rel=1e-2)
    assert (curve.contention.mean, curve.contention.half_width) == (pytest.approx(curve.law.contention), None)


IDLE = {"server_cpu_cores": 0.4, "client_cpu_cores": 0.1, "machine_cpu_ratio": 0.3}
GPU = {"gpu_utilization_ratio:0": 0.97}
BATCH = {"inflight_scheduled_requests": 4.0, "inflight_max_requests": 8.0}


@pytest.mark.parametrize(
    ("one", "two", "shares", "expected"),
    [
        (IDLE, IDLE, (20, 20), ("unknown",)),
        (IDLE, {"server_cpu_cores": 1.8, "client_cpu_cores": 0.15, "machine_cpu_ratio": 0.98}, (20, 20), ("machine_cpu",)),
        (IDLE, {"server_cpu_cores": 0.9, "client_cpu_cores": 0.1, "machine_cpu_ratio": 0.8}, (20, 20), ("foreign",)),
        (IDLE, IDLE | {"client_worker_cpu_cores:0": 0.95}, (20, 20), ("client",)),
        (IDLE, {"balancer_cpu_cores": 1.9, "machine_cpu_ratio": 0.99}, (20, 20), ("balancer", "machine_cpu")),
        (IDLE, IDLE | GPU, (20, 20), ("gpu",)),
        (IDLE, IDLE, (30, 10), ("imbalance",)),
        (IDLE, IDLE | {"server_cpu_cores": 1.85, "machine_cpu_ratio": 0.89}, (20, 20), ("threads",)),
        (IDLE | BATCH, IDLE | BATCH, (20, 20), ("thin",)),
        (IDLE | BATCH, IDLE | BATCH | {"inflight_scheduled_requests": 8.0}, (20, 20), ("unknown",)),
        (
            IDLE | BATCH | {"inflight_scheduled_requests": 2.0, "inflight_waiting_requests": 0.0},
            IDLE | {"inflight_scheduled_requests": 8.0, "inflight_max_requests": 8.0, "inflight_waiting_requests": 3.0},
            (20, 20),
            ("sequences",),
        ),
        ({}, {}, (), ("unknown",)),
    ],
)
def test_the_planted_resource_says_so(
    tmp_path: Path, one: dict[str, float], two: dict[str, float], shares: tuple[int, ...], expected: tuple[str, ...]
) -> None:
    summary = scaling_run(tmp_path / "run", {1: Planted([10], one), 2: Planted([9], two, shares)})
    curve = the_curve(summary)
    assert curve.bend is not None and curve.bend.units == 2
    assert curve.limiters == expected
    assert f"scaling_{expected[0]}" in codes(summary)


def test_a_full_cache_explains_only_what_it_did_not_explain_before(tmp_path: Path) -> None:
    full = {"kv_blocks_used": 64.0, "kv_blocks_max": 64.0, "kv_block_tokens": 32.0}
    empty = full | {"kv_blocks_used": 8.0}
    found = the_curve(scaling_run(tmp_path / "found", {1: Planted([10], IDLE | empty), 2: Planted([9], IDLE | full, (20, 20))}))
    assert found.limiters == ("kv",)
    before = the_curve(scaling_run(tmp_path / "before", {1: Planted([10], IDLE | full), 2: Planted([9], IDLE | full, (20, 20))}))
    assert before.limiters == ("unknown",)


def test_a_cache_made_for_every_sequence_explains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = {"kv_blocks_used": 64.0, "kv_blocks_max": 64.0, "kv_block_tokens": 32.0}
    monkeypatch.setitem(BASE, "kv_cache", {})
    found = the_curve(scaling_run(tmp_path / "run", {1: Planted([10], IDLE), 2: Planted([9], IDLE | full, (20, 20))}))
    assert found.limiters == ("unknown",)


def test_uneven_servers_differ_from_even_ones(tmp_path: Path) -> None:
    uneven = scaling_run(tmp_path / "uneven", {1: Planted([10]), 2: Planted([5], shares=(33, 7))})
    assert codes(uneven) == ["replicas_uneven"]
    (finding,) = (finding for finding in uneven.findings if finding.code == "replicas_uneven")
    assert finding.figures["uneven_factor"] == pytest.approx(1.65)
    assert finding.figures["requests"] == "33, 7"
    assert codes(scaling_run(tmp_path / "even", {1: Planted([10]), 2: Planted([5], shares=(21, 19))})) == []


@pytest.mark.parametrize(
    ("series", "filled"),
    [
        (IDLE, False),
        (IDLE | {"server_cpu_cores": 0.95, "machine_cpu_ratio": 0.55}, True),
        (IDLE | GPU, True),
        (IDLE | {"inflight_scheduled_requests": 4.0, "inflight_max_requests": 4.0, "inflight_waiting_requests": 2.0}, True),
        (IDLE | {"machine_cpu_ratio": 0.9}, None),  # others took cores
        ({}, None),
    ],
)
def test_a_smallest_point_that_its_load_does_not_fill_is_reported(tmp_path: Path, series: dict[str, float], filled: bool | None) -> None:
    summary = scaling_run(tmp_path / "run", {1: Planted([10], series), 2: Planted([5])})
    assert the_curve(summary).filled is filled
    said = [block.text for block in scaling_blocks(summary, Words("en")) if isinstance(block, Paragraph)]
    assert (Words("en")("scaling.not_filled") in said) is (filled is False)


@pytest.mark.usefixtures("sketched_figures")
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_encoder_scales_by_requests(tmp_path: Path, language: Language) -> None:
    steps = {n: (1 + 0.2 * (n - 1)) / n * 20 for n in (1, 2, 4, 8)}
    summary = scaling_run(tmp_path / "run", {n: Planted([step], IDLE) for n, step in steps.items()}, task="embed")
    curve, words = the_curve(summary), Words(language, "embed")
    assert [point.output_token_throughput for point in curve.points] == [None] * 4
    assert [point.rate.mean for point in curve.points if point.rate] == pytest.approx([100 / step for step in steps.values()], rel=1e-3)
    assert curve.points[1].efficiency == Estimate(pytest.approx(1 / 1.2), None, 1)
    assert curve.bend is curve.points[2]
    assert curve.law is not None and curve.law.contention == pytest.approx(0.2, abs=1e-3)
    tables = [block for block in scaling_blocks(summary, words) if isinstance(block, Table)]
    assert [(len(table.header), {len(row) for row in table.rows}) for table in tables] == [(7, {7}), (7, {7})]
    assert tables[0].header[3] == words("scaling.col_requests") and tables[0].rows[1][-1] == "83.3%"
    assert "scaling" in draw(summary, words)


def test_load_a_unit_keeps_one_stage_for_all_points(tmp_path: Path) -> None:
    curve = the_curve(scaling_run(tmp_path / "run", {1: Planted([10]), 2: Planted([5])}, load="per_unit"))
    assert curve.stage == "c1-a-unit"
    assert [point.asked for point in curve.points] == [1, 2]


def test_a_scenario_without_scaling_says_nothing(tmp_path: Path) -> None:
    summary = scaling_run(tmp_path / "run", {1: Planted([10]), 2: Planted([9])})
    plain = parse_scenario({"name": "p", "load": [{"concurrency": 1, "requests": 4}]}, "p")
    (tmp_path / "run" / "scenario.yaml").write_text(plain.dump(), encoding="utf-8")
    assert summary.found[SCALINGS] and summarise(RunDirectory.open(tmp_path / "run")).found[SCALINGS] == ()


@pytest.mark.usefixtures("sketched_figures")
@pytest.mark.parametrize("language", LANGUAGES)
def test_report_says_bend_resource_and_shares(tmp_path: Path, language: Language) -> None:
    busy = {"server_cpu_cores": 1.8, "client_cpu_cores": 0.15, "machine_cpu_ratio": 0.98, "balancer_cpu_cores": 0.03}
    points = {1: Planted([10, 10]), 2: Planted([8, 8], busy, (19, 21))}
    summary, words = scaling_run(tmp_path / "run", points, repeats=2), Words(language)
    blocks = scaling_blocks(summary, words)
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [row[:2] for row in tables[0].rows] == [("1", "2"), ("2", "2")]
    assert tables[0].rows[1][-1] == "62.5%"
    assert tables[1].rows[1] == ("2", "1.80", "0.150", "0.030", "98%", "-", "-", "-", "38 / 42")
    said = [block.text for block in blocks if isinstance(block, Paragraph) and block.strong]
    assert said and "62.5%" in said[0] and words("scaling.why_machine_cpu") in said[0] and words("scaling.clear") in said[0]
    assert "scaling" in draw(summary, words)


SIZES = (1, 2, 4, 8, 16)


def law_points(unit: float, contention: float, coherency: float) -> list[tuple[float, float]]:
    return [(float(n), unit * n / (1 + contention * (n - 1) + coherency * n * (n - 1))) for n in SIZES]


@given(unit=st.floats(0.1, 1e5), contention=st.floats(0, 0.9), coherency=st.floats(0, 0.1))
def test_planted_coefficients_are_found(unit: float, contention: float, coherency: float) -> None:
    law = fit_law(law_points(unit, contention, coherency))
    assert law is not None
    assert law.unit_throughput == pytest.approx(unit, rel=1e-5)
    assert law.contention == pytest.approx(contention, abs=1e-5)
    assert law.coherency == pytest.approx(coherency, abs=1e-6)
    assert law.residual_ratio < 1e-5


@given(st.lists(st.floats(0.5, 2), min_size=len(SIZES), max_size=len(SIZES)))
def test_the_fit_is_that_of_non_negative_least_squares(ratios: list[float]) -> None:
    from scipy.optimize import nnls  # a second, which only the process that runs this spends

    points = [(n, n * ratio) for n, ratio in zip(SIZES, ratios, strict=True)]
    n, x = np.array(points, float).T
    share = x / n
    (inverse, contended, coherent), _ = nnls(np.column_stack([share, share * (n - 1), share * n * (n - 1)]), np.ones(len(n)))
    law = fit_law(points)
    assert law is not None and law.unit_throughput == pytest.approx(1 / inverse, rel=1e-6)
    assert law.contention == pytest.approx(contended / inverse, rel=1e-6, abs=1e-6)
    assert law.coherency == pytest.approx(coherent / inverse, rel=1e-6, abs=1e-6)


def test_the_peak_is_where_more_units_give_less() -> None:
    law = fit_law(law_points(100, 0.1, 0.01))
    assert law is not None and law.peak_units == pytest.approx(sqrt(0.9 / 0.01))
    assert law.at(9) > max(law.at(11), law.at(8))


def test_linear_points_have_no_contention_and_no_peak() -> None:
    law = fit_law(law_points(100, 0, 0))
    assert law is not None
    assert (law.contention, law.coherency, law.peak_units) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9), None)


def test_more_than_linear_is_not_taken_for_negative_contention() -> None:
    law = fit_law([(1, 10), (2, 24), (4, 52), (8, 110)])
    assert law is not None and (law.contention, law.coherency) == (0, 0)
    assert law.residual_ratio > 0.05


@pytest.mark.parametrize(
    "points", [[], [(1, 5)], [(1, 5), (2, 9), (4, 15)], [(1, 5), (1, 5.1), (2, 9), (4, 15)], [(1, 5), (2, 9), (3, 0), (4, 1)]]
)
def test_too_few_points_have_no_law(points: list[tuple[float, float]]) -> None:
    assert fit_law(points) is None
