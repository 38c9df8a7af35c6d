from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.events import plain
from trtbench.serving.server.autopsy import LAST_LINES, examine, fault_while_running
from trtbench.system.memory import OomKill


def cause_of(tmp_path: Path, log: str, exit_code: int | None = 1) -> str:
    path = tmp_path / "server.log"
    path.write_text(log)
    return examine(path, exit_code).cause


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("stub: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared object file", "found no libpython"),
        ("failed to start HTTP service: Unavailable - Socket '127.0.0.1:8000' already in use\nAddress already in use", "a port was taken"),
        (
            "failed to load 'm' version 1: Internal: Stub process 'm_0_0' is not healthy.",
            "the model's own Python process crashed",
        ),
        ("OSError: [Errno 28] No space left on device", "the disk, or /dev/shm, is full"),
        ("Unable to initialize shared memory key 'x' to requested size", "shared memory is too small"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory ran out"),
        ("ModuleNotFoundError: No module named 'openvino_genai'", "misses a Python package (openvino_genai)"),
        ('Poll failed for model directory \'m\': "unexpected max_batch_size" for m"', "refuses the model's configuration"),
        (
            "failed to load 'demo' version 1: Internal: RuntimeError: no engine here",
            "did not load (Internal: RuntimeError: no engine here)",
        ),
        (
            "[ERROR] CUDA runtime error in ::cudaMallocAsync(ptr): out of memory (a.h:112)",
            "GPU memory ran out; lower the KV",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "GPU memory ran out"),
        (
            "Version tag does not match. Note: Current Version: 228, Serialized Engine: 237",
            "the engine was built by another TensorRT",
        ),
        (
            "6: The engine plan file is not compatible with this version of TensorRT, expecting library version 9.2.0.5 got 9.3.0.1",
            "the engine was built by another TensorRT; build the engine in the container",
        ),
        ("The engine plan file is generated on an incompatible device, expecting compute 8.0 got compute 8.6", "another GPU architecture"),
        ("Assertion failed: Failed to deserialize cuda engine. (tllmRuntime.cpp:72)", "TensorRT cannot read the engine"),
        ("Failed, NCCL error ncclPlugin.cpp:129 'invalid usage'", "could not work together by NCCL (ncclPlugin.cpp:129 'invalid usage')"),
        ("MPI_ERR_SPAWN: could not spawn processes", "could not spawn its workers; set llmapi.launch"),
        ("There are not enough slots available in the system", "mpirun finds fewer cores than ranks"),
        ("All nodes which are allocated for this job are already filled.", "mpirun finds fewer cores than ranks"),
        ("[TensorRT-LLM][ERROR] CUDA failure: no CUDA-capable device is detected", "no usable GPU"),
        ("[11/28/2026-20:01:02] [TRT-LLM] [E] CUDA failure: no CUDA-capable device is detected", "no usable GPU"),
        (
            "[TRT-LLM] [E] CUDA error: an illegal memory access was encountered",
            "a CUDA call failed (an illegal memory access was encountered)",
        ),
        ("Impossible to fit in any sequence in kvCache", "the KV cache is too small for one sequence"),
        (
            "[TensorRT-LLM][ERROR] CUDA error: an illegal memory access was encountered",
            "a CUDA call failed (an illegal memory access was encountered)",
        ),
        (
            "[TensorRT-LLM][ERROR] CUDA runtime error in cudaMemcpyAsync(dst, n): invalid argument (a.cpp:1)",
            "a CUDA call failed (invalid argument",
        ),
        ("MPI_ABORT was invoked on rank 3 in communicator MPI_COMM_WORLD", "a rank of MPI ended, and the others with it (3)"),
        ("prterun noticed that process rank 1 with PID 30531 on node vm exited on", "a rank of MPI ended, and the others with it (1)"),
        ("error: creating server: Internal - failed to load all models", "could not start (Internal - failed to load all models)"),
        ("unrecognized option '--exit-timeout'", "does not know one of the flags"),
    ],
)
def test_known_causes(tmp_path: Path, log: str, cause: str) -> None:
    found = cause_of(tmp_path, f"before\n{log}\nafter\n")
    assert "Probable cause" in found
    assert cause in found
    assert found.startswith("Exit code 1. ")


def test_the_deeper_cause_wins(tmp_path: Path) -> None:
    log = "error: creating server: Internal\nfailed to load 'demo' version 1: x\nModuleNotFoundError: No module named 'y'"
    assert "misses a Python package (y)" in cause_of(tmp_path, log)


def test_what_triton_says_without_a_gpu_is_no_fault(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text('W1124 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory: CUDA driver version is insufficient"\n')
    assert fault_while_running(log) is None
    assert "no cause that trtbench knows" in examine(log, 1).cause


def test_a_fault_of_a_running_server_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert fault_while_running(log) is None
    log.write_text("I1124 server ready\nrequest failed: MemoryError")
    assert fault_while_running(log) is None
    log.write_text("[TensorRT-LLM][ERROR] Encountered an error in forwardAsync function: Assertion failed: mNextBlocks.empty()\n")
    assert fault_while_running(log) == "A step of the engine failed (Assertion failed: mNextBlocks.empty())."
    log.write_text("Encountered an error in forwardAsync function: CUDA runtime error in cudaMallocAsync(p): out of memory")
    assert (fault_while_running(log) or "").startswith("GPU memory ran out; ")


def test_signals_by_name(tmp_path: Path) -> None:
    assert cause_of(tmp_path, "all was well", 128 + 9).startswith("Ended by SIGKILL. Probable cause: killed from outside, or by the kernel")
    assert cause_of(tmp_path, "all was well", 128 + 11).startswith("Ended by SIGSEGV. ")
    assert cause_of(tmp_path, "all was well", 255).startswith("Exit code 255. ")
    assert cause_of(tmp_path, "all was well", None).startswith("It is still running. ")


@pytest.mark.parametrize(
    ("oom_kill", "said", "out_of_memory"),
    [
        ("certain", "Ended by SIGKILL. Almost certain cause: the kernel killed it because memory ran out", True),
        ("likely", "Ended by SIGKILL. Probable cause: the kernel killed it because memory ran out", False),
        ("none", "Ended by SIGKILL. Killed from outside: the kernel killed no process", False),
        ("unknown", "Ended by SIGKILL. Probable cause: killed from outside, or by the kernel", False),
    ],
)
def test_how_sure_a_kill_for_want_of_memory_is(tmp_path: Path, oom_kill: OomKill, said: str, out_of_memory: bool) -> None:
    path = tmp_path / "server.log"
    path.write_text("all was well")
    death = examine(path, 128 + 9, oom_kill)
    assert death.cause.startswith(said)
    assert death.out_of_memory is out_of_memory
    assert not examine(path, 1, oom_kill).out_of_memory, "it ended by itself"


def test_memory_that_ran_out_by_its_own_log(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("terminate called after throwing an instance of 'std::bad_alloc'")
    assert plain(examine(path, 134).facts())[1] == {
        "exit_code": 134,
        "cause": "Ended by SIGABRT. Probable cause: memory ran out; lower kv_cache or instances.",
        "log_tail": path.read_text(),
        "out_of_memory": True,
        "memory": "host",
    }
    path.write_text("[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n): out of memory")
    assert examine(path, 134).memory == "device"
    path.write_text("it ran out of memory")
    assert (examine(path, 134).out_of_memory, examine(path, 134).memory) == (True, None)


def test_no_log_at_all(tmp_path: Path) -> None:
    death = examine(tmp_path / "none.log", 1)
    assert "no cause that trtbench knows" in death.cause
    assert death.log_tail == ""


@given(st.binary(max_size=2000))
def test_the_tail_of_any_log_is_bounded(log: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(log)
        death = examine(Path(file.name), 1)
    assert len(death.log_tail.splitlines()) <= 10 * LAST_LINES
    assert str(death).startswith(death.cause)


def test_the_tail_is_the_last_lines_cut_to_a_readable_width(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("".join(f"line {number} {'x' * 1000}\n" for number in range(100)))
    lines = examine(path, 1).log_tail.splitlines()
    assert [line.split()[1] for line in lines] == [str(number) for number in range(100 - LAST_LINES, 100)]
    assert max(map(len, lines)) <= 430
