"""The probable cause of a server's death, or of a model that did not load, by the exit code and the log."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from trtbench.rundir.event_kinds import ServerLost
from trtbench.system.foreign_text import shown
from trtbench.system.memory import Memory, OomKill, short_memory

LAST_LINES = 15
_LINE_CHARACTERS = 400
_UNKNOWN = "The log names no cause that trtbench knows."

_TRT_LLM_ERROR = r"\[(?:TensorRT-LLM\]\[ERROR|TRT-LLM\] \[E)\]"  # the marks of its C++ code, and of its Python and later C++ code
_NO_MEMORY = r"std::bad_alloc|MemoryError|CUDA out of memory|out of memory"
_KILLED: dict[OomKill, str] = {
    "certain": "Almost certain cause: the kernel killed it because memory ran out: its control group's oom_kill count rose while it ran; "
    "lower kv_cache or instances, or raise the container's memory limit.",
    "likely": "Probable cause: the kernel killed it because memory ran out: while it ran, the kernel killed a process of this machine for "
    "that reason, and the control group has no count of its own; lower kv_cache or instances.",
    "none": "Killed from outside: the kernel killed no process because of missing memory while it ran.",
    "unknown": "Probable cause: killed from outside, or by the kernel because memory ran out; see `dmesg`.",
}
_DEVICE_CAUSES = (
    (
        r"CUDA runtime error in [^\n]{0,200}out of memory|CUDA out of memory|torch\.OutOfMemoryError|cudaErrorMemoryAllocation",
        "GPU memory ran out",
        "lower the KV cache (kv_cache_free_gpu_mem_fraction, kv_cache.blocks) or build with a lower max_num_tokens or max_batch_size",
    ),
    (
        r"Version tag does not match|engine plan file is not compatible with this version of TensorRT",
        "the engine was built by another TensorRT",
        "build the engine in the container that serves it",
    ),
    (
        r"engine plan file is generated on an incompatible device",
        "the engine was built on another GPU architecture",
        "build it on the GPU that serves it",
    ),
    (
        r"Failed to deserialize cuda engine",
        "TensorRT cannot read the engine",
        "build it again in the container and on the GPU that serve it",
    ),
    (
        r"NCCL error ([^\n]{0,200})",
        "the GPUs could not work together by NCCL",
        "set NCCL_DEBUG=WARN for details; give each rank a GPU, and a container --shm-size",
    ),
    (r"MPI_ERR_SPAWN", "the LLM API could not spawn its workers", "set llmapi.launch to mpirun or llmapi_launch"),
    (
        r"not enough slots available|All nodes which are allocated for this job are already filled",
        "mpirun finds fewer cores than ranks",
        "give the job more cores, or set oversubscribe: true next to launch",
    ),
    (
        _TRT_LLM_ERROR + r"[^\n]{0,300}(?:no CUDA-capable device is detected|CUDA driver version is insufficient)",
        "no usable GPU",
        "start the container with --gpus all, on a driver as new as its CUDA",
    ),
    (
        r"Impossible to fit in any sequence in kvCache",
        "the KV cache is too small for one sequence",
        "raise the KV cache, or build with a lower max_num_tokens: its working memory comes first",
    ),
    (
        _TRT_LLM_ERROR + r"[^\n]{0,200}?CUDA (?:runtime )?error[^\n]{0,200}?: ([^\n]{0,200})",
        "a CUDA call failed",
        "see the reason in the log",
    ),
)
"""Failures of GPUs, engines and ranks: pattern in the log, cause, remedy; the most specific first.

A server may log one and continue to run, with its model still READY. No pattern may match what Triton logs on a machine without a GPU,
where it serves nevertheless.
"""

_CAUSES = (
    *_DEVICE_CAUSES,
    (r"libpython\S+: cannot open shared object", "Triton's Python stub found no libpython", "install this Python's shared library"),
    (r"[Aa]ddress already in use", "a port was taken by another program", "start again: ports are chosen free each time"),
    (r"No space left on device", "the disk, or /dev/shm, is full", "free space; in a container raise --shm-size"),
    (r"Unable to (initialize|create) shared memory|Failed to initialize shared memory", "shared memory is too small", "raise --shm-size"),
    (_NO_MEMORY, "memory ran out", "lower kv_cache or instances"),
    (r"ModuleNotFoundError: No module named '([\w.]+)'", "the model misses a Python package", "`make setup` installs the pinned ones"),
    (
        r"Poll failed for model directory '[^']+': (.{0,300})\"",
        "Triton refuses the model's configuration",
        "change the deployment's settings",
    ),
    (
        r"Stub process '[^']+' is not healthy",
        "the model's own Python process crashed",
        "the kernel's log (dmesg) names the signal",
    ),
    (r"failed to load '[^']+' version \d+: (.{0,300})", "the model did not load", "see the reason in the log"),
    (r"Unexpected argument|unrecognized option", "Triton does not know one of the flags", "use a Triton of 24.10 or later"),
    (r"error: creating server: (.{0,300})", "Triton could not start", "see the reason in the log"),
    (
        r"MPI_ABORT was invoked on rank (\d+)|(?:mpirun|prterun|mpiexec) noticed that process rank (\d+)",
        "a rank of MPI ended, and the others with it",
        "its own message is before mpirun's in the log",
    ),
)
_FATAL = r"Encountered an error in forward(?:Async|Sync) function: ([^\n]{0,200})"


@dataclass(frozen=True)
class Death:
    """The end of a server and its cause. `exit_code` is 128 + n if signal n ended it, and None while the process still runs.

    `out_of_memory`: memory ran out according to the log or the kernel; `memory` is which, if the log names it.
    """

    exit_code: int | None
    cause: str
    log: Path
    log_tail: str
    out_of_memory: bool = False
    memory: Memory | None = None

    def facts(self) -> ServerLost:
        return ServerLost(
            exit_code=self.exit_code, cause=self.cause, log_tail=self.log_tail, out_of_memory=self.out_of_memory, memory=self.memory
        )

    def __str__(self) -> str:
        indented = "\n".join(f"  {line}" for line in self.log_tail.splitlines())
        return f"{self.cause}\nLast lines of {self.log}:\n{indented}"


def examine(log: Path, exit_code: int | None, oom_kill: OomKill = "unknown") -> Death:
    """The cause of a server's end, with the remedy. `oom_kill`: whether the kernel killed one of its processes because memory ran out."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    tail = "\n".join(shown(line, _LINE_CHARACTERS) for line in text.rstrip().splitlines()[-LAST_LINES:])
    killed = exit_code == 128 + signal.SIGKILL
    by_kernel = killed and oom_kill == "certain"
    cause = "" if by_kernel else _cause(text)
    if killed and not cause:
        cause = _KILLED[oom_kill]
    memory = short_memory(text)
    short = by_kernel or memory is not None or re.search(_NO_MEMORY, text) is not None
    return Death(exit_code, f"{_ending(exit_code)}. {cause or _UNKNOWN}", log, tail, short, memory)


def fault_while_running(log: Path) -> str | None:
    """The fault of a running server: a failure of a GPU, an engine or a rank in its log. None if there is none."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    step = re.search(_FATAL, text)
    return _first(_DEVICE_CAUSES, text) or (f"A step of the engine failed ({shown(step.group(1))})." if step else None)


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "It is still running"
    if exit_code <= 128:
        return f"Exit code {exit_code}"
    try:
        return f"Ended by {signal.Signals(exit_code - 128).name}"
    except ValueError:
        return f"Exit code {exit_code}"


def _cause(text: str) -> str:
    """The cause that the log names, or an empty text if it names none that trtbench knows."""
    cause = _first(_CAUSES, text)
    return f"Probable cause: {cause}" if cause else ""


def _first(causes: tuple[tuple[str, str, str], ...], text: str) -> str | None:
    for pattern, cause, remedy in causes:
        if match := re.search(pattern, text):
            detail = next((group.strip() for group in match.groups() if group), "")
            return f"{cause}{f' ({shown(detail, _LINE_CHARACTERS)})' if detail else ''}; {remedy}."
    return None
