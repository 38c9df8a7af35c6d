"""The start of `tritonserver`: as one process, or as ranks of MPI, which only TensorRT-LLM needs; and the flags of a response cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trtbench.scenario.deployment.deployment import ResponseCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.server.installation import TritonInstallation

RANK_MODEL = "tensorrt_llm"
"""The only model that ranks other than the first load (leader mode). They wait in it for work and open no port."""

_LLMAPI_LAUNCH = "trtllm-llmapi-launch"
_MPIRUN = ("mpirun", "--allow-run-as-root", "--bind-to", "none")
"""By default, Open MPI binds each of up to two ranks to one core, which all threads of a server would then share."""


@dataclass(frozen=True)
class Launch:
    """The way to start a server: with `mpi`, as many servers as `ranks` under mpirun, else one server. `wrapper` precedes each command, and
    `flags` are appended to each.

    `ready_timeout_s` is how long loading the models may take.
    """

    mpi: bool = False
    ranks: int = 1
    oversubscribe: bool = False
    wrapper: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 300.0

    def command(self, server: Callable[[int], Sequence[str]]) -> list[str]:
        """The whole command line. `server` returns the command of one rank."""
        first = [*self.wrapper, *server(0), *self.flags]
        if not self.mpi:
            return first
        command = [*_MPIRUN, *(["--oversubscribe"] if self.oversubscribe else []), "-n", "1", *first]
        for rank in range(1, self.ranks):
            command += [":", "-n", "1", *self.wrapper, *server(rank), *self.flags]
            command += ["--model-control-mode=explicit", f"--load-model={RANK_MODEL}"]
        return command

    def check(self) -> None:
        """ScenarioError if a program that it needs is not on PATH."""
        for program in (*(["mpirun"] if self.mpi else []), *self.wrapper):
            if shutil.which(program) is None:
                raise ScenarioError(
                    f"{program} is not on PATH and this deployment is launched with it: run in the Triton + TensorRT-LLM container, "
                    "or set launch: direct where one GPU is enough"
                )


DIRECT = Launch()

_LARGE_LOAD_S = 1800.0
"""The time limit for loading tens of GiB of weights from a slow disk and recording CUDA graphs."""


def engine_launch(asked: str, world_size: int, gpu_device_ids: Sequence[int]) -> Launch:
    """The launch of the C++ backend; ScenarioError for a direct start of an engine with several ranks."""
    if asked == "orchestrator":
        return _orchestrator(gpu_device_ids or range(world_size))
    if asked == "mpirun" or (asked == "auto" and world_size > 1):
        return Launch(mpi=True, ranks=world_size, ready_timeout_s=_LARGE_LOAD_S)
    if world_size > 1:
        raise ScenarioError(f"tensorrt_llm.launch = 'direct': the engine has {world_size} ranks, each a process of MPI; set auto or mpirun")
    return Launch(ready_timeout_s=_LARGE_LOAD_S)


def _orchestrator(gpus: Sequence[int]) -> Launch:
    """One server that spawns a worker for each rank. Triton's own memory pools are disabled on the GPUs of the workers."""
    pools = (f"--cuda-memory-pool-byte-size={gpu}:0" for gpu in gpus)
    return Launch(
        mpi=True,
        flags=("--pinned-memory-pool-byte-size=0", "--enable-peer-access=false", *pools),
        environment={"TRTLLM_ORCHESTRATOR": "1", "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1"},
        ready_timeout_s=_LARGE_LOAD_S,
    )


def llmapi_launch(asked: str, world_size: int) -> Launch:
    """The launch of the LLM API's model, which spawns its ranks itself unless `trtllm-llmapi-launch` starts a process for each."""
    if asked == "llmapi_launch":
        return Launch(mpi=True, ranks=world_size, wrapper=(_LLMAPI_LAUNCH,), ready_timeout_s=_LARGE_LOAD_S)
    return Launch(mpi=asked != "direct", ready_timeout_s=_LARGE_LOAD_S)


def cache_flags(cache: ResponseCache | None, installation: TritonInstallation) -> tuple[str, ...]:
    """The flags of a response cache, of which there are none without a cache. ScenarioError if this Triton lacks the cache's library."""
    if cache is None:
        return ()
    library = installation.caches / cache.kind / f"libtritoncache_{cache.kind}.so"
    if not library.is_file():
        there = sorted(found.parent.name for found in installation.caches.glob("*/libtritoncache_*.so"))
        raise ScenarioError(
            f"response_cache.kind = {cache.kind!r}: this Triton ({installation.source}) has no {library.name} in {installation.caches}; "
            f"it has {', '.join(there) or 'none'}: choose one of them, null, or an image that has it"
        )
    settings = (f"--cache-config={cache.kind},{key}={value}" for key, value in cache.settings)
    return (f"--cache-directory={installation.caches}", *settings)
