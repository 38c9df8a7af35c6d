"""Facts of the logs of servers, and that no text whatever breaks the reading of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.serving.server.autopsy import fault_while_running
from trtbench.serving.server.log_facts import LogFacts, LogMark, LogShortage, log_facts

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


def test_batch_means_from_the_facts_of_the_log() -> None:
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


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n): out of memory", "device"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "device"),
        ("[TRT] [E] Requested amount of GPU memory (99 bytes) could not be allocated. Terminate called", "device"),
        ("CUDA runtime error in ::cudaMallocHost(ptr, n): out of memory", "host"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "host"),
        ("OSError: [Errno 12] Cannot allocate memory", "host"),
        ("[TensorRT-LLM][ERROR] Can't allocate new blocks. No free blocks left.", "kv_cache"),
    ],
)
def test_what_ran_out_since_the_mark(tmp_path: Path, line: str, says: str) -> None:
    logs = [tmp_path / "server.log", tmp_path / "server-1.log", tmp_path / "none.log"]
    logs[0].write_text("started\n")
    logs[1].write_text("CUDA out of memory\n")
    mark = LogMark(logs)
    assert mark.shortage_since() is None, "what stood there before"
    with logs[1].open("a") as log:
        log.write(f"all is well\n  {line}\nlater: std::bad_alloc\n")
    assert mark.shortage_since() == LogShortage(says, line)  # type: ignore[arg-type]


def test_ordinary_lines_have_no_cause(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("")
    mark = LogMark([log])
    log.write_text("Allocated 2 GiB for max tokens in paged KV cache\nNumber of blocks in KV cache primary pool: 24\nCUDA memory pool: 0")
    assert mark.shortage_since() is None
