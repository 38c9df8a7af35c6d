"""The TensorRT version with which a Triton on this machine reads plans. It reads only plans of its own version, so this is checked
before a build.

`python -m trtbench.engine.tensorrt.runtime` prints the version of the library that the loader finds.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

BACKEND = Path("/opt/tritonserver/backends/tensorrt/libtriton_tensorrt.so")
"""The backend's library in NVIDIA's containers, which finds libnvinfer as every program does."""

_MAJORS = (11, 10)
_PARTS = ("Major", "Minor", "Patch", "Build")
_LIMIT_S = 60


def other_version(built_by: str) -> str | None:
    """A sentence why this Triton cannot read a plan of TensorRT `built_by`, with the remedy; None if it can, or if nothing is known."""
    serves = served_version()
    if serves is None or _numbers(serves)[: len(_numbers(built_by))] == _numbers(built_by)[: len(_numbers(serves))]:
        return None
    return (
        f"this container's Triton cannot read a plan of TensorRT {built_by}: its own is {serves}, and major, minor, patch and build must "
        f"be equal; install tensorrt {serves} to build with, or serve in a container whose TensorRT is {built_by}"
    )


def served_version() -> str | None:
    """TensorRT's version, from TRT_VERSION of NVIDIA's containers, else from the library of Triton's TensorRT backend, else None."""
    named = os.environ.get("TRT_VERSION", "").partition("+")[0]
    return named if _numbers(named) else _library_version() if BACKEND.is_file() else None


def read_version(library: str) -> str:
    """The version of a libnvinfer, such as 10.16.1.11; OSError or AttributeError for any other file. It needs no driver."""
    loaded = ctypes.CDLL(library)
    return ".".join(str(getattr(loaded, f"getInferLib{part}Version")()) for part in _PARTS)


@cache
def _library_version() -> str | None:
    """The version of the library of Triton's backend. A child process reads it, because it is large, and two TensorRTs in one process
    can crash.
    """
    try:
        command = [sys.executable, "-m", __name__]
        return subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True).stdout.strip() or None
    except (subprocess.SubprocessError, OSError):
        return None


def _numbers(version: str) -> list[str]:
    return re.findall(r"\d+", version)[: len(_PARTS)] if re.match(r"\d+\.\d+", version) else []


def _print_version() -> None:
    for major in _MAJORS:
        try:
            print(read_version(f"libnvinfer.so.{major}"))
            return
        except (OSError, AttributeError):
            continue


if __name__ == "__main__":
    _print_version()
