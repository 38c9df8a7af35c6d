from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of
from trtbench.experiments.precision.comparison import agreement, cosine, embedding_agreement, embeddings, outputs, prefix_ratio
from trtbench.rundir.records import Outcome


@pytest.mark.parametrize(
    ("left", "right", "ratio"),
    [([1, 2, 3], [1, 2, 3], 1), ([1, 2, 3, 4], [1, 2, 9, 4], 0.5), ([1], [1, 2], 0.5), ([1], [2], 0), ([], [], 1)],
)
def test_prefix_ratio(left: list[int], right: list[int], ratio: float) -> None:
    assert prefix_ratio(left, right) == ratio


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_prefix_ratio_is_even_and_one_only_for_the_same(left: list[int], right: list[int]) -> None:
    assert prefix_ratio(left, right) == prefix_ratio(right, left)
    assert (prefix_ratio(left, right) == 1) is (left == right)


def test_pairs_are_of_the_same_prompt_stage_and_length() -> None:
    base = {("c1", 0, 4): [1, 2, 3, 4], ("c1", 1, 4): [5, 6, 7, 8], ("c4", 0, 4): [9]}
    other = {("c1", 0, 4): [1, 2, 3, 4], ("c1", 1, 4): [5, 6, 0, 0], ("c1", 0, 8): [1]}
    said = agreement(base, other)
    assert said is not None
    assert (said.prompts, said.identical_ratio, said.mean_prefix_ratio, said.first_token_ratio) == (2, 0.5, 0.75, 1.0)
    assert agreement(base, {}) is None


def test_outputs_are_of_completed_requests_and_the_first_of_a_repeated_prompt() -> None:
    said = outputs(
        columns(
            [
                request_of(0, [1], Outcome.TIMEOUT, output_ids=[9]),
                request_of(0, [1], output_ids=[1]),
                request_of(0, [1], output_ids=[2]),
                request_of(0, [1], output_ids=[], prompt=3),
            ]
        )
    )
    assert said == {("c1", 0, 1): [1]}


def test_cosines_by_hand() -> None:
    base = {("c1", 0, 0): [1.0, 0.0], ("c1", 1, 0): [0.0, 2.0], ("c1", 2, 0): [1.0, 1.0]}
    other = {("c1", 0, 0): [3.0, 0.0], ("c1", 1, 0): [1.0, 1.0], ("c1", 9, 0): [1.0, 1.0]}
    found = embedding_agreement(base, other)
    assert found and found.prompts == 2
    assert found.least_cosine == pytest.approx(0.5**0.5) and found.mean_cosine == pytest.approx((1 + 0.5**0.5) / 2)
    assert embedding_agreement(base, {("c1", 0, 0): [1.0]}) is None
    assert embedding_agreement(base, {}) is None


@given(st.lists(st.integers(-9, 9) | st.floats(-1e3, 1e3, width=16), min_size=1, max_size=9), st.floats(0.1, 9))
def test_a_cosine_knows_no_length(values: list[float], factor: float) -> None:
    vector = np.asarray(values)
    expected = float(bool(np.linalg.norm(vector) and np.linalg.norm(factor * vector)))
    assert cosine(vector, factor * vector) == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_of_completed_requests() -> None:
    kept = request_of(0, [], embedding=[1.0], asked_output_tokens=0)
    lost = request_of(0, [], Outcome.OTHER, embedding=[2.0], prompt=1)
    assert embeddings(columns([kept, lost, request_of(0, [], prompt=2)])) == {("c1", 0, 0): [1.0]}
