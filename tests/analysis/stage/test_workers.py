from __future__ import annotations

from tests.support.records import samples_of
from trtbench.analysis.stage.resources import resources
from trtbench.analysis.stage.workers import busiest, workers
from trtbench.analysis.stats.window import Level


def series(*values: float) -> list[tuple[int, float]]:
    return [(10 * (i + 1), value) for i, value in enumerate(values)]


def test_a_run_of_before_there_were_workers_has_one() -> None:
    samples = samples_of({("client_loop_lag_ns", ""): series(1, 2, 3, 900), ("client_cpu_cores", ""): series(0.5, 0.7)})
    (worker,) = workers(samples, 10, 40).values()
    assert (worker.loop_lag_p50_ns, worker.loop_lag_ns, worker.gc_pause_ns) == (2, Level(226.5, 1, 900), None)
    assert worker.cpu_cores == Level(0.6, 0.5, 0.7)


def test_a_reading_that_reaches_back_over_the_start_is_left_out() -> None:
    found = workers(samples_of({("client_gc_pause_ns", "0"): series(80, 0, 3)}), 10, 30)
    assert found["0"].gc_pause_ns == Level(1.5, 0, 3)
    assert workers(samples_of({("client_gc_pause_ns", "0"): series(80)}), 10, 30)["0"].gc_pause_ns is None


def test_the_busiest_of_several() -> None:
    cores = {("client_worker_cpu_cores", str(n)): series(9, n / 10, n / 10) for n in range(11)}
    found = workers(samples_of(cores | {("client_cpu_cores", ""): series(5, 5, 5)}), 10, 30)
    assert list(found) == [str(n) for n in range(11)]
    assert busiest(found) == ("10", 1.0)


def test_cpu_that_is_only_known_of_all_is_shared_evenly() -> None:
    lags = {("client_loop_lag_ns", label): series(0, 0, 0) for label in "01"}
    found = workers(samples_of(lags | {("client_cpu_cores", ""): series(1.6, 1.6)}), 10, 30)
    assert busiest(found) == ("0", 0.8)
    assert busiest(workers(samples_of({}), 0, 9)) is None


def test_loop_lag_of_a_stage_is_that_of_all_and_its_median_the_worst_workers() -> None:
    lags = {("client_loop_lag_ns", "0"): series(0, 2, 4), ("client_loop_lag_ns", "1"): series(0, 6, 8)}
    use = resources(samples_of(lags), 10, 30)
    assert (use.client_loop_lag_ns, use.client_loop_lag_p50_ns) == (Level(5, 2, 8), 6)
