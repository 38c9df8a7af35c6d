from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.rundir.records import Sample
from trtbench.telemetry.together import Together, summed, together


class Fixed:
    def __init__(self, samples: list[Sample] | None) -> None:
        self.samples, self.closed = samples, False

    def read(self) -> list[Sample]:
        if self.samples is None:
            raise OSError("gone")
        return self.samples

    def close(self) -> None:
        self.closed = True


def values(samples: list[Sample]) -> dict[tuple[str, str], float]:
    return {(sample.name, sample.label): sample.value for sample in samples}


def test_counts_and_levels_add_up_sizes_do_not_and_each_servers_successes_are_kept() -> None:
    first = [
        Sample(10, "triton_success_count", "", 5),
        Sample(10, "kv_block_tokens", "", 32),
        Sample(10, "triton_batch_executions", "4", 1),
    ]
    second = [Sample(20, "triton_success_count", "", 7), Sample(20, "kv_block_tokens", "", 32)]
    read = Together([Fixed(first), Fixed(second)]).read()
    assert values(read) == {
        ("triton_success_count", ""): 12,
        ("kv_block_tokens", ""): 32,
        ("triton_batch_executions", "4"): 1,
        ("replica_success_count", "0"): 5,
        ("replica_success_count", "1"): 7,
    }
    assert {sample.time_ns for sample in read} == {15}


def test_a_size_is_that_of_the_servers_which_tell_it() -> None:
    read = values(summed([[Sample(1, "kv_block_tokens", "", 32)], [Sample(1, "kv_blocks_used", "", 7)]]))
    assert read == {("kv_block_tokens", ""): 32, ("kv_blocks_used", ""): 7}


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=1), min_size=2, max_size=5))
def test_the_sum_of_each_is_the_whole(counts: list[list[int]]) -> None:
    read = values(summed([[Sample(1, "triton_success_count", "", count) for count in each] for each in counts]))
    assert sum(value for (name, _), value in read.items() if name == "replica_success_count") == read.get(("triton_success_count", ""), 0)


def test_one_that_fails_fails_the_reading_and_all_are_closed() -> None:
    sources = [Fixed([]), Fixed(None)]
    both = Together(sources)
    with pytest.raises(OSError, match="gone"):
        both.read()
    both.close()
    assert all(source.closed for source in sources)


def test_a_single_server_is_read_as_it_is() -> None:
    alone = Fixed([])
    assert together([alone]) is alone
