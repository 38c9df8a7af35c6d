"""The race of a grid's cells: planted means and noise, and who must and must not be dropped."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.experiments.grid.race import Drop, Score, race, undecided

REPEATS = 8
Table = dict[str, list[Score]]


def scores(**figures: list[float]) -> Table:
    return {cell: [Score(float(figure)) for figure in every] for cell, every in figures.items()}


def test_what_is_behind_in_every_round_is_dropped() -> None:
    drops = race(scores(best=[10, 11, 12], behind=[8, 9.1, 9.9], near=[9, 11, 11]), 3)
    assert [(drop.cell, drop.after_round, drop.why, drop.leader) for drop in drops] == [("behind", 2, "below", "best")]
    difference = drops[0].difference
    assert difference is not None and difference.mean == pytest.approx((2 + 1.9) / 2)


def test_what_drifts_between_rounds_cancels() -> None:
    """The machine halves its speed in the second round; one cell is better in each, by as much."""
    drops = race(scores(best=[100, 52, 90], other=[90, 42, 80]), 3)
    assert [drop.cell for drop in drops] == ["other"]


def test_one_round_drops_nobody_and_a_tie_never() -> None:
    assert race(scores(best=[10], worst=[1]), REPEATS) == ()
    assert race(scores(a=[10, 10, 10], b=[10, 10, 10]), 3) == ()
    assert undecided(scores(a=[10], b=[10]), ()) == {"a", "b"}
    assert race({}, 3) == ()


def test_who_is_out_stays_out() -> None:
    drops = race(scores(best=[10, 10, 10], out=[1, 1]), REPEATS)
    assert drops == race(scores(best=[10, 10, 10], out=[1, 1, 99]), REPEATS)
    assert undecided(scores(best=[10, 10], out=[1, 1]), drops) == frozenset()


def test_a_round_without_a_figure_ends_a_cell() -> None:
    table = scores(a=[10, 10], b=[10, 10]) | {"lost": [Score(99.0), Score(None)]}
    assert race(table, 3) == (Drop("lost", 2, "no_figure"),)


def test_an_slo_out_of_reach_ends_a_cell_though_it_leads() -> None:
    kept, broken = [Score(10.0, 1.0)] * 2, [Score(20.0, 0.97), Score(20.0, 0.98)]
    assert race({"kept": kept, "broken": broken}, 4) == (Drop("broken", 2, "slo", within_slo_ratio=0.975),)  # 1.95 + 2 < 0.99 x 4
    assert race({"kept": kept, "broken": broken}, 5) == ()  # 1.95 + 3 = 0.99 x 5: three perfect rounds would do


def test_a_cell_below_the_slo_is_not_the_leader() -> None:
    table = {"kept": [Score(10.0, 1.0)] * 2, "wavering": [Score(20.0, 0.98), Score(20.0, 0.995)]}
    assert race(table, 10) == ()
    alone = {"wavering": table["wavering"]}
    assert undecided(alone, ()) == {"wavering"}  # it may yet keep the SLO, or not: only more rounds tell


@given(
    st.lists(st.floats(1, 1000), min_size=1, max_size=8, unique=True),
    st.integers(2, 6),
    st.lists(st.floats(-0.5, 0.5), min_size=6, max_size=6),
)
def test_without_noise_the_best_is_never_dropped_and_is_alone_after_two_rounds(means: list[float], rounds: int, drift: list[float]) -> None:
    """Whatever drifts from round to round."""
    table = {f"c{i}": [Score(mean + drift[r]) for r in range(rounds)] for i, mean in enumerate(means)}
    best = f"c{means.index(max(means))}"
    dropped = {drop.cell for drop in race(table, rounds)}
    assert best not in dropped
    plain = {cell: [Score(mean)] * rounds for cell, mean in zip(table, means, strict=True)}
    assert {drop.cell for drop in race(plain, rounds)} == set(plain) - {best}


@given(st.lists(st.lists(st.floats(1, 100), min_size=5, max_size=5), min_size=1, max_size=5), st.integers(1, 5))
def test_a_decision_depends_on_the_rounds_so_far_only(figures: list[list[float]], rounds: int) -> None:
    whole = scores(**{f"c{i}": every for i, every in enumerate(figures)})
    first = {cell: every[:rounds] for cell, every in whole.items()}
    assert race(first, 5) == tuple(drop for drop in race(whole, 5) if drop.after_round <= rounds)


def search(means: list[float], noise: float, random: Random) -> tuple[int, int, int]:
    """(the search's winner, the full grid's, runs spent) on a table of Gaussian noise beside a drift that all cells share."""
    drift = [random.gauss(0, 5) for _ in range(REPEATS)]
    table = [[Score(mean + drift[r] + random.gauss(0, noise)) for r in range(REPEATS)] for mean in means]
    seen: Table = {str(i): [] for i in range(len(means))}
    racing = frozenset(seen)
    for round_ in range(REPEATS):
        for cell in racing:
            seen[cell] = table[int(cell)][: round_ + 1]
        drops = race(seen, REPEATS)
        racing = undecided(seen, drops) if round_ else racing
        if not racing:
            break
    left = set(seen) - {drop.cell for drop in drops}
    found = max(left, key=lambda cell: fmean(score.figure or 0.0 for score in seen[cell]))
    full = max(range(len(means)), key=lambda i: fmean(score.figure or 0.0 for score in table[i]))
    return int(found), full, sum(map(len, seen.values()))


@pytest.mark.parametrize(("noise", "least_agreement", "most_spent"), [(1.0, 1.0, 0.5), (3.0, 0.95, 0.7), (6.0, 0.8, 0.9)])
def test_the_search_finds_the_winner_of_the_full_grid_at_a_known_rate(noise: float, least_agreement: float, most_spent: float) -> None:
    """12 cells, the best 5 % ahead of the next; noise of 1 %, 3 % and 6 % of it, a drift between rounds of 5 %."""
    means = [100.0, 95.0, 94.0, 92.0, 90.0, 88.0, 85.0, 80.0, 75.0, 70.0, 60.0, 50.0]
    trials, agree, right, spent = 300, 0, 0, 0
    random = Random(7)
    for _ in range(trials):
        found, full, runs = search(means, noise, random)
        agree += found == full
        right += found == 0
        spent += runs
    assert agree / trials >= least_agreement and right / trials >= least_agreement
    assert spent / (trials * len(means) * REPEATS) <= most_spent
    print(f"noise {noise:g} %: {agree / trials:.1%} as the full grid, {right / trials:.1%} right, {spent / trials:.1f} runs of 96")
