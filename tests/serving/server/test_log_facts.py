"""Facts of a TensorRT-LLM server's log, and that no text whatever breaks the reading of it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trtbench.serving.server.autopsy import fault_while_running
from trtbench.serving.server.log_facts import LogFacts, log_facts

LOADED = (Path(__file__).parents[2] / "fixtures" / "trtllm_logs" / "loaded_written_by_hand.log").read_text()
MIB, GIB = 1 << 20, 1 << 30


def test_every_fact() -> None:
    assert log_facts(LOADED) == LogFacts(
        engine_version="1.2.1",
        max_sequences=64,
        max_batch_size=64,
        max_beam_width=1,
        max_sequence_tokens=4096,
        max_step_tokens=8192,
        max_input_tokens=4095,
        scheduler_policy="GUARANTEED_NO_EVICT",
        chunking_policy="FIRST_COME_FIRST_SERVED",
        engine_bytes=15388 * MIB,
        execution_context_bytes=round(928.77 * MIB),
        runtime_buffer_bytes=round(43.29 * MIB),
        decoder_bytes=round(1.14 * GIB),
        gpu_total_bytes=round(79.10 * GIB),
        gpu_available_bytes=round(63.62 * GIB),
        kv_bytes=round(35.99 * GIB),
        kv_tokens=294848,
        kv_blocks=4607,
        kv_host_blocks=0,
        kv_block_tokens=64,
    )


def test_another_servers_log_has_none() -> None:
    assert log_facts("I1124 server.cc:674] ready\n| pinned_memory_pool_byte_size | 268435456 |").known() == {}


def test_the_last_word_counts_and_old_releases_say_it_otherwise() -> None:
    twice = "Allocated 1.00 GiB for max tokens in paged KV cache (8192).\nAllocated 2.00 GiB for max tokens in paged KV cache (16384)."
    assert log_facts(twice).known() == {"kv_bytes": 2 * GIB, "kv_tokens": 16384}
    old = "Max tokens in paged KV cache: 117760. Allocating 54022635520 bytes."
    assert log_facts(old).known() == {"kv_bytes": 54022635520, "kv_tokens": 117760}


def test_blocks_by_what_is_told() -> None:
    assert log_facts(LOADED).blocks(32) == 4607
    assert LogFacts(kv_tokens=3200).blocks(32) == 100
    assert LogFacts(kv_tokens=3200, kv_block_tokens=64).blocks(32) == 50
    assert LogFacts().blocks(32) is None


@given(st.text() | st.lists(st.sampled_from([*LOADED.split(), "\n", "9" * 40, "-1", "nan", "\0"])).map(" ".join))
def test_no_text_breaks_it(text: str) -> None:
    assert all(isinstance(value, (int, str)) for value in log_facts(text).known().values())


@given(st.binary(max_size=500))
def test_no_log_is_a_fault_by_chance(log: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(log)
        assert fault_while_running(Path(file.name)) is None
