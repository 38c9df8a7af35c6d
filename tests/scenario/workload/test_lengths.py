from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from trtbench.scenario.workload.lengths import Empirical, Lengths, Lognormal, Normal, Range

LENGTHS: TypeAdapter[Any] = TypeAdapter(Lengths)


@pytest.mark.parametrize(
    ("written", "law"),
    [
        (5, Range(min=5, max=5)),
        ({"min": 3, "max": 9}, Range(min=3, max=9)),
        ({"mean": 100, "stddev": 10, "max": 200}, Normal(mean=100, stddev=10, min=1, max=200)),
        ({"median": 100, "sigma": 1, "min": 4, "max": 2000}, Lognormal(median=100, sigma=1, min=4, max=2000)),
        ({"values": [1, 7]}, Empirical(values=(1, 7))),
        ({"values": [1, 7], "weights": [3, 1]}, Empirical(values=(1, 7), weights=(3, 1))),
    ],
)
def test_every_law_is_known_by_its_keys(written: Any, law: Any) -> None:
    assert LENGTHS.validate_python(written) == law
    assert LENGTHS.validate_python(law.model_dump(mode="json")) == law


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("many", "write a number, {min, max}"),
        (2.5, "write a number, {min, max}"),
        (0, "must be a"),
        ({"min": 5, "max": 2}, "max (2) is below min (5)"),
        ({"mean": 100, "stddev": 10}, "max"),
        ({"mean": 100, "stddev": 0, "max": 200}, "must be a"),
        ({"mean": 100, "stddev": 10, "max": 50}, "only 0.00% of the law lies within min 1 and max 50: widen them"),
        ({"median": 100, "sigma": 1, "min": 9, "max": 5}, "max (5) is below min (9)"),
        ({"mean": 100, "sigma": 1, "max": 200}, "Extra inputs"),
        ({"values": []}, "at least 1 item"),
        ({"values": [0]}, "must be a"),
        ({"values": [1, 2], "weights": [1]}, "1 weights for 2 values"),
        ({"values": [1, 2], "weights": [0, 0]}, "at least one above 0"),
        ({"values": [1, 2], "weights": [1, math.inf]}, "must be a"),
    ],
)
def test_what_is_not_a_law_is_refused(written: Any, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LENGTHS.validate_python(written)
    assert says in str(caught.value)


@st.composite
def truncated(draw: st.DrawFn) -> Normal | Lognormal:
    low, width = draw(st.integers(1, 500)), draw(st.integers(1, 3000))
    middle = low + width * draw(st.floats(0, 1))
    kind, spread = draw(st.sampled_from([("mean", "stddev"), ("median", "sigma")])), draw(st.floats(0.05, 1))
    shape = {kind[0]: middle, kind[1]: spread * width if kind[1] == "stddev" else 2 * spread}
    try:
        return LENGTHS.validate_python({"min": low, "max": low + width} | shape)  # type: ignore[no-any-return]
    except ValidationError:  # too little of the law is within the bounds
        reject()


@given(truncated(), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_inverse_of_a_truncated_law_rises_within_its_bounds(law: Normal | Lognormal, shares: list[float]) -> None:
    lengths = law.lengths_at(sorted(shares))
    assert lengths == sorted(lengths)
    assert law.min <= lengths[0] and lengths[-1] <= law.max
    first, last = law.lengths_at([0, 1])
    assert first == law.min or law.quantiles[0] < 1e-9
    assert last == law.max or law.quantiles[1] > 1 - 1e-9


@given(truncated())
def test_the_expected_length_is_the_mean_over_the_inverse(law: Normal | Lognormal) -> None:
    """E[X] is the integral of the inverse distribution function over 0..1; lengths are rounded, which moves it by under half a token."""
    steps = 2000
    mean = math.fsum(law.lengths_at((step + 0.5) / steps for step in range(steps))) / steps
    assert law.expected == pytest.approx(mean, rel=0.01, abs=0.6)


def test_expected_lengths_of_the_other_laws() -> None:
    assert Range(min=3, max=8).expected == 5.5
    law = Empirical(values=(10, 20, 100), weights=(1, 2, 1))
    assert (law.expected, law.min, law.max) == (37.5, 10, 100)
    assert Empirical(values=(10, 20)).expected == 15


def counted(path: Path, text: str, key: str | None = None) -> Empirical:
    path.write_text(text, encoding="utf-8")
    law = LENGTHS.validate_python({"file": str(path), "key": key})
    assert isinstance(law, Empirical)
    return law


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("a.csv", "5\n9\n5\n5\n", None),
        ("a.csv", "tokens\n5\n9\n5\n\n5\n", None),
        ("a.csv", "\ufefftime,Request tokens\n0.1,5\n0.2,9\n0.3,5\n0.4,5\n", "Request tokens"),
        ("a.csv", "1,5\n2,9\n3,5\n4,5\n", "1"),
        ("a.jsonl", "5\n9\n5\n\n5\n", None),
        ("a.jsonl", '{"input_length": 5, "t": 0}\n{"input_length": 9}\n{"input_length": 5}\n{"input_length": 5}\n', "input_length"),
    ],
)
def test_lengths_of_a_file_are_counted(tmp_path: Path, name: str, text: str, key: str | None) -> None:
    law = counted(tmp_path / name, text, key)
    assert law == Empirical(values=(5, 9), weights=(3, 1))
    (tmp_path / name).unlink()
    assert LENGTHS.validate_python(law.model_dump(mode="json")) == law  # the effective scenario needs the file no more


@pytest.mark.parametrize(
    ("name", "text", "key", "says"),
    [
        ("a.csv", "", None, "holds no lengths"),
        ("a.csv", "5\nx\n", None, 'a.csv:2: "x" is not a whole number'),
        ("a.csv", "5\n-1\n", None, 'a.csv:2: "-1" is not a length'),
        ("a.csv", "0\n0\n", None, "holds no lengths"),
        ("a.csv", "9" * 5000, None, "is not a whole number"),
        ("a.jsonl", "true", None, "true is not a length"),
        ("a.jsonl", "9" * 5000, None, "not JSON"),
        ("a.csv", "a,b\n1,2\n", None, "a.csv:2: several columns (a, b): say which with key"),
        ("a.csv", "a,b\n1,2\n", "c", "a.csv:2: no 'c' there, only a, b: correct key"),
        ("a.jsonl", "5\n{\n", None, "a.jsonl:2: not JSON"),
        ("a.jsonl", "5.5\n", None, "a.jsonl:1: 5.5 is not a length"),
        ("a.jsonl", "null\n", None, "a.jsonl:1: null is not a whole number"),
        ("a.jsonl", "[[1]]\n", None, "a.jsonl, row 1: [1] is not a whole number"),
        ("a.jsonl", "\ud800", None, "a.jsonl:1: not UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_its_line(tmp_path: Path, name: str, text: str, key: str | None, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValidationError) as caught:
        LENGTHS.validate_python({"file": str(path), "key": key})
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"none\.csv cannot be read"):
        LENGTHS.validate_python({"file": str(tmp_path / "none.csv")})


def test_rows_of_no_tokens_are_left_out_and_counted(tmp_path: Path) -> None:
    """As BurstGPT has them, of requests that failed."""
    law = counted(tmp_path / "a.csv", "Timestamp,Response tokens\n1,5\n2,0\n3,9\n4,0\n", "Response tokens")
    assert (law.values, law.weights, law.left_out) == ((5, 9), (1, 1), 2)
