"""A description of the machine of a run, sufficient to distinguish two machines, without anything that identifies their owner."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from trtbench import __version__
from trtbench.rundir.records import Environment
from trtbench.system.clock import WallAnchor
from trtbench.system.memory import memory_bounds

PACKAGES = (
    "grpcio",
    "nncf",
    "numpy",
    "nvidia-ml-py",
    "nvidia-modelopt",
    "nvidia-pytriton",
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "optimum-intel",
    "protobuf",
    "psutil",
    "pyarrow",
    "tensorrt",
    "tensorrt-llm",
    "tokenizers",
    "torch",
    "transformers",
    "tritonclient",
)
"""The packages that affect what is built, served or measured."""

VARIABLES = (
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VERSION",
    "CUDA_VISIBLE_DEVICES",
    "GRPC_POLL_STRATEGY",
    "HF_HUB_OFFLINE",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS",
    "NCCL_P2P_DISABLE",
    "NVIDIA_TENSORRT_VERSION",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_TRITON_SERVER_VERSION",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "TLLM_LOG_LEVEL",
    "TRT_VERSION",
    "TRTLLM_ORCHESTRATOR",
)
"""The only environment variables that are recorded. They affect speed or contain a version, and none contains a path, a name or a
secret.
"""


def capture(anchor: WallAnchor) -> Environment:
    """The present state of this machine; `anchor` relates the run's clock to UTC and is the run's start."""
    from trtbench.gpu import inventory  # pynvml is loaded only where GPUs are asked for

    return Environment(
        trtbench_version=__version__,
        started_utc=anchor.utc(anchor.monotonic_ns).isoformat(timespec="seconds"),
        anchor_monotonic_ns=anchor.monotonic_ns,
        anchor_wall_ns=anchor.wall_ns,
        hostname_sha256=hashlib.sha256(socket.gethostname().encode()).hexdigest(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cpu_model=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=min((bound.limit_bytes for bound in memory_bounds() if bound.kind == "cgroup"), default=None),
        gpus=inventory.describe(),
        nvml=inventory.probe(),
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def cpu_model(cpuinfo: str) -> str:
    """The model in the text of /proc/cpuinfo, or the architecture if it names none, as on ARM."""
    named = re.search(r"^model name\s*:\s*(.+?)\s*$", cpuinfo, re.MULTILINE)
    return named[1] if named else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
