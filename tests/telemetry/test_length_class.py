from __future__ import annotations

import pytest

from tests.support.records import samples_of
from trtbench.rundir.records import Sample
from trtbench.telemetry.ticker import OfClasses, together


class FakeModel:
    """A source of one model, or one that fails."""

    def __init__(self, *samples: Sample, fails: bool = False) -> None:
        self.samples, self.fails, self.closed = list(samples), fails, False

    def read(self) -> list[Sample]:
        if self.fails:
            raise OSError("gone")
        return self.samples

    def close(self) -> None:
        self.closed = True


SHORT = FakeModel(Sample(10, "triton_success_count", "", 3), Sample(10, "triton_batch_executions", "2", 1))
LONG = FakeModel(Sample(20, "triton_success_count", "", 4), Sample(20, "kv_block_tokens", "", 32))


def test_the_sum_is_that_of_one_model_and_each_class_has_its_own_series() -> None:
    read = OfClasses({"short": SHORT, "long": LONG}).read()
    series = {(str(one.name), one.label): [(one.time_ns, one.value)] for one in read}
    assert series["triton_success_count", ""] == [(15, 7)]
    samples = samples_of(series)
    times, values = samples.of_length_class("short").series("triton_batch_executions", "2")
    assert (times.tolist(), values.tolist()) == ([10], [1])
    assert samples.of_length_class("long").labels("triton_batch_executions") == []
    assert samples.of_length_class("long").series("kv_block_tokens")[1].tolist() == [32]
    assert samples.of_length_class("sho").names() == []


def test_classes_are_not_taken_for_servers() -> None:
    one_server = together([OfClasses({"short": SHORT, "long": LONG})]).read()
    assert "replica_success_count" not in {one.name for one in one_server}
    two = together([OfClasses({"short": SHORT, "long": LONG})] * 2).read()
    assert {one.label: one.value for one in two if one.name == "replica_success_count"} == {"0": 7, "1": 7}


def test_a_class_that_fails_fails_the_reading() -> None:
    lost = FakeModel(fails=True)
    source = OfClasses({"short": SHORT, "long": lost})
    with pytest.raises(OSError, match="gone"):
        source.read()
    source.close()
    assert lost.closed
