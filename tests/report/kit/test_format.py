from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.percentile import Distribution
from trtbench.report.kit import format as shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (-2.5, "-2.50")],
)
def test_number(value: float | None, text: str) -> None:
    assert shown.number(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (None, "-"),
        (0, "0%"),
        (1, "100%"),
        (0.5, "50%"),
        (0.123, "12.3%"),
        (0.0001, "<0.1%"),
        (0.9999, ">99.9%"),
        (-0.0001, "-<0.1%"),
        (1.5, "150%"),
    ],
)
def test_percent(ratio: float | None, text: str) -> None:
    assert shown.percent(ratio) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_what_is_neither_nothing_nor_all_never_reads_as_either(ratio: float) -> None:
    assert shown.percent(ratio) not in ("0%", "100%")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (12, "12 B"), (2048, "2.00 KiB"), (135_000_000, "129 MiB"), (3 * 2**30, "3.00 GiB"), (-(2**20), "-1.00 MiB")],
)
def test_size(value: float | None, text: str) -> None:
    assert shown.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(4.2, "4.20 s"), (200, "3 min 20 s"), (119.6, "2 min 0 s"), (86_400, "24 h 0 min")])
def test_seconds(value: float, text: str) -> None:
    assert shown.seconds(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ttft_p99_ns", 12_345_678, "12.3 ms"),
        ("start_bytes", 2**30, "1.00 GiB"),
        ("peak_ratio", 0.5, "50%"),
        ("gain_ratio", 0.05, "+5%"),
        ("gain_ratio", -0.05, "-5%"),
        ("speed_factor", 1.4, "1.40×"),
        ("served_per_s", 12.34, "12.3"),
        ("length_s", 3600.0, "1 h 0 min"),
        ("count", 1234, "1,234"),
        ("waiting_mean", 2.5, "2.50"),
        ("peak_ratio", "-", "-"),
    ],
)
def test_figure_by_the_unit_in_its_name(name: str, value: float | str, text: str) -> None:
    assert shown.figure(name, value) == text


def test_utc() -> None:
    assert shown.utc("2026-11-03T08:00:00.123+00:00") == "2026-11-03 08:00:00 UTC"


def test_a_percentile_is_a_value_a_bound_infinite_or_nothing() -> None:
    few, many = Distribution.of([1] * 40), Distribution.of(range(1, 1001))
    assert [shown.statistic(few, name, shown.number) for name in ("p50", "p90", "p99")] == ["1.00", "≥ 1.00", "≥ 1.00"]
    assert shown.statistic(Distribution.of([3]), "p50", shown.number) == shown.statistic(Distribution.of([]), "p99", shown.number) == "-"
    assert shown.with_interval(few, "p99", shown.number) == "≥ 1.00"
    assert shown.with_interval(many, "p99", shown.number) == "990 (983 … 997)"
    failed = Distribution.of(range(1, 995), 6)
    assert shown.with_interval(failed, "p99", shown.number) == "990 (983 … ∞)"
    assert shown.statistic(failed, "max", shown.number) == shown.statistic(failed, "mean", shown.number) == "∞"
