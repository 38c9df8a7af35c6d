from __future__ import annotations

from pathlib import Path

import pytest

from trtbench.serving.server.log_mark import LogMark, LogShortage


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


def test_ordinary_lines_tell_of_nothing(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("")
    mark = LogMark([log])
    log.write_text("Allocated 2 GiB for max tokens in paged KV cache\nNumber of blocks in KV cache primary pool: 24\nCUDA memory pool: 0")
    assert mark.shortage_since() is None
