from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.error_streak import ErrorStreak, failed_in_a_row


def test_a_success_ends_the_streak_of_every_worker() -> None:
    assert failed_in_a_row([]) == 0
    assert failed_in_a_row([(0, [1, 2, 3]), (0, [4])]) == 4
    assert failed_in_a_row([(2, [3]), (0, [1, 2, 5])]) == 2


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.integers(1, 10))
def test_workers_together_count_what_one_would(ended: list[tuple[int, bool]], most: int) -> None:
    """Requests end one after another, each at one of three workers; the count is exact up to `most`, and reached when it is."""
    workers, alone = [ErrorStreak(most) for _ in range(3)], 0
    for worker, failed in ended:
        workers[worker].add(failed)
        alone = alone + 1 if failed else 0
        together = failed_in_a_row(one.counted for one in workers)
        assert together == alone or together >= most <= alone


def test_nothing_is_kept_where_nothing_is_looked_for() -> None:
    streak = ErrorStreak()
    streak.add(True)
    assert streak.counted == (0, [])
