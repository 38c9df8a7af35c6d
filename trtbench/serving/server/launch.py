"""How a `tritonserver` is started: by itself, or as ranks of MPI. Only TensorRT-LLM needs more than the first.

`cache_flags` are the flags that give a server a response cache, where its Triton brings the library.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trtbench.scenario.deployment.deployment import ResponseCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.server.installation import TritonInstallation

RANK_MODEL = "tensorrt_llm"
"""The one model that ranks other than the first load (leader mode): they wait in it for work and never open a port."""

_LLMAPI_LAUNCH = "trtllm-llmapi-launch"
_MPIRUN = ("mpirun", "--allow-run-as-root", "--bind-to", "none")
"""Open MPI binds up to two ranks to one core each by default: all threads of a server would share that core."""


@dataclass(frozen=True)
class Launch:
    """`ranks` servers under mpirun, or without `mpi` the one server itself. `wrapper` goes before each, `flags` to each.

    `ready_timeout_s`: how long the load may take.
    """

    mpi: bool = False
    ranks: int = 1
    oversubscribe: bool = False
    wrapper: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 300.0

    def command(self, server: Callable[[int], Sequence[str]]) -> list[str]:
        """The whole command line; `server` gives one rank's own."""
        first = [*self.wrapper, *server(0), *self.flags]
        if not self.mpi:
            return first
        command = [*_MPIRUN, *(["--oversubscribe"] if self.oversubscribe else []), "-n", "1", *first]
        for rank in range(1, self.ranks):
            command += [":", "-n", "1", *self.wrapper, *server(rank), *self.flags]
            command += ["--model-control-mode=explicit", f"--load-model={RANK_MODEL}"]
        return command

    def check(self) -> None:
        """ScenarioError when a program that it needs is not on PATH."""
        for program in (*(["mpirun"] if self.mpi else []), *self.wrapper):
            if shutil.which(program) is None:
                raise ScenarioError(
                    f"{program} is not on PATH and this deployment is launched with it: run in the Triton + TensorRT-LLM container, "
                    "or set launch: direct where one GPU is enough"
                )


DIRECT = Launch()

_LARGE_LOAD_S = 1800.0
"""Tens of GiB of weights from a slow disk, and CUDA graphs to record."""


def engine_launch(asked: str, world_size: int, gpu_device_ids: Sequence[int]) -> Launch:
    """For the C++ backend. ScenarioError for a direct start of an engine of several ranks."""
    if asked == "orchestrator":
        return _orchestrator(gpu_device_ids or range(world_size))
    if asked == "mpirun" or (asked == "auto" and world_size > 1):
        return Launch(mpi=True, ranks=world_size, ready_timeout_s=_LARGE_LOAD_S)
    if world_size > 1:
        raise ScenarioError(f"tensorrt_llm.launch = 'direct': the engine has {world_size} ranks, each a process of MPI; say auto or mpirun")
    return Launch(ready_timeout_s=_LARGE_LOAD_S)


def _orchestrator(gpus: Sequence[int]) -> Launch:
    """One server that spawns a worker for each rank; Triton's own memory pools are kept off the workers' GPUs."""
    pools = (f"--cuda-memory-pool-byte-size={gpu}:0" for gpu in gpus)
    return Launch(
        mpi=True,
        flags=("--pinned-memory-pool-byte-size=0", "--enable-peer-access=false", *pools),
        environment={"TRTLLM_ORCHESTRATOR": "1", "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1"},
        ready_timeout_s=_LARGE_LOAD_S,
    )


def llmapi_launch(asked: str, world_size: int) -> Launch:
    """For the LLM API's model, which spawns its ranks itself unless `trtllm-llmapi-launch` gives it a process for each."""
    if asked == "llmapi_launch":
        return Launch(mpi=True, ranks=world_size, wrapper=(_LLMAPI_LAUNCH,), ready_timeout_s=_LARGE_LOAD_S)
    return Launch(mpi=asked != "direct", ready_timeout_s=_LARGE_LOAD_S)


def cache_flags(cache: ResponseCache | None, installation: TritonInstallation) -> tuple[str, ...]:
    """None without a cache. ScenarioError where this Triton cannot make one."""
    if cache is None:
        return ()
    library = installation.caches / cache.kind / f"libtritoncache_{cache.kind}.so"
    if not library.is_file():
        there = sorted(found.parent.name for found in installation.caches.glob("*/libtritoncache_*.so"))
        raise ScenarioError(
            f"response_cache.kind = {cache.kind!r}: this Triton ({installation.source}) has no {library.name} in {installation.caches}; "
            f"it has {', '.join(there) or 'none'}: choose one of them, null, or an image that brings it"
        )
    settings = (f"--cache-config={cache.kind},{key}={value}" for key, value in cache.settings)
    return (f"--cache-directory={installation.caches}", *settings)
