"""The checks of this machine: what it can do, and the remedy for what it cannot.

The checks of Triton and of the providers are parameters, because their own code knows what they need.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trtbench.errors import UserError
from trtbench.gpu.journal import JournalError, journals, state_directory
from trtbench.system.memory import memory_bounds

_GIB = 1 << 30
# The demo's checkpoint and two engines take about 1 GiB, and twice that while they are built.
_FAIL_DISK_BYTES, _WARN_DISK_BYTES = 2 * _GIB, 5 * _GIB
_FAIL_MEMORY_BYTES, _WARN_MEMORY_BYTES = 2 * _GIB, 4 * _GIB
_SHARED_BYTES = _GIB  # NVIDIA's own advice for its Triton images
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open makes its files
_STREAMS_DESCRIPTORS = 4096  # 2000 streams, each with a connection in the worst case, and the server's as many again
_TRITON_PORTS = 3  # HTTP, gRPC, metrics
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FONT_DIRECTORIES = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_CHINESE_FONTS = (
    "notosanscjk",
    "notoserifcjk",
    "notosanssc",
    "sourcehan",
    "wqy",
    "droidsansfallback",
    "simhei",
    "msyh",
    "arphic",
    "uming",
    "ukai",
)


@dataclass(frozen=True)
class Check:
    """The result of one check: `ok`; `warn`, a run is possible but lacks something; `fail`, no run is possible.

    `remedy` is empty if nothing has to be done.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(
    tritonserver: Callable[[], str], libpython: Callable[[], object], providers: Mapping[str, str | None], cache: Path, output: Path
) -> list[Check]:
    """The results of all checks, in the order in which a run would need what they check.

    `tritonserver` and `libpython` say what they found or raise RuntimeError; `providers` maps a name to why it cannot build here,
    None when it can. `cache` and `output` are the directories that checkpoints and runs are written to; they need not exist.
    """
    return [
        _python(),
        check_libpython(libpython),
        check_tritonserver(tritonserver),
        *check_providers(providers),
        *_gpu(),
        _ports(),
        check_writable("output directory", output),
        check_disk("output disk", output),
        check_writable("cache directory", cache),
        check_disk("cache disk", cache),
        _memory(),
        check_shared_memory(_SHARED_MEMORY),
        _cores(),
        check_descriptors(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        _chromium(),
        check_fonts([Path(directory).expanduser() for directory in _FONT_DIRECTORIES]),
    ]


def check_tritonserver(find: Callable[[], str]) -> Check:
    try:
        return Check("tritonserver", "ok", find())
    except UserError as error:
        return Check("tritonserver", "fail", str(error), "`make setup` installs the CPU server; NVIDIA's Triton containers bring their own")


def check_libpython(find: Callable[[], object]) -> Check:
    """Whether Triton's Python backend finds libpython.

    It only warns: Triton in NVIDIA's containers does not use this Python, and where Triton needs it, the check of tritonserver fails too.
    """
    try:
        return Check("libpython", "ok", f"{find()}")
    except UserError as error:
        package = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        return Check(
            "libpython", "warn", str(error), f"Debian: `apt-get install {package}`; a Python from source: `./configure --enable-shared`"
        )


def check_providers(providers: Mapping[str, str | None]) -> list[Check]:
    """A result for each provider; it is a failure if none can build."""
    checks = []
    for name, reason in providers.items():
        found, _, remedy = (reason or "").partition("; ")
        missing = Check(f"provider {name}", "warn", found, remedy or "only needed for engines of this provider")
        checks.append(missing if reason else Check(f"provider {name}", "ok", "can build engines here"))
    if all(providers.values()):
        checks.append(Check("providers", "fail", "none can build engines here", "`make setup` installs the CPU provider (openvino)"))
    return checks


def check_writable(name: str, directory: Path) -> Check:
    """Whether a file can be written, by writing one: this finds missing permissions, and a file system that is read-only or full."""
    place = _nearest(directory)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"?")
    except OSError as error:
        return Check(
            name, "fail", f"{place} cannot be written ({error.strerror})", "choose another directory, or get the right to write there"
        )
    return Check(name, "ok", f"{place} can be written")


def check_disk(name: str, directory: Path) -> Check:
    free = shutil.disk_usage(_nearest(directory)).free
    return _enough(name, free, _FAIL_DISK_BYTES, _WARN_DISK_BYTES, "free", "free some space, or choose a directory on another disk")


def check_shared_memory(place: Path) -> Check:
    """Whether /dev/shm is large enough. A container has 64 MiB by default, which is enough for one server without ranks."""
    free = shutil.disk_usage(place).free if place.is_dir() else 0
    if free >= _SHARED_BYTES:
        return Check("shared memory", "ok", f"{free / _GIB:.1f} GiB free in {place}")
    found = f"{free >> 20} MiB free in {place}: too few for ranks that exchange by NCCL, and for many Python models in Triton"
    return Check("shared memory", "warn", found, "`docker run --shm-size 2g`; in Kubernetes an emptyDir of medium Memory at /dev/shm")


def check_descriptors(soft: int, hard: int) -> Check:
    """`soft` and `hard` as from getrlimit, which says "no limit" by RLIM_INFINITY (-1)."""
    name = "file descriptors"
    if soft == resource.RLIM_INFINITY or soft >= _STREAMS_DESCRIPTORS:
        return Check(name, "ok", "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft}")
    can_raise = hard == resource.RLIM_INFINITY or hard >= _STREAMS_DESCRIPTORS
    remedy = (
        f"`ulimit -n {_STREAMS_DESCRIPTORS}`"
        if can_raise
        else f"raise the hard limit ({hard}) in /etc/security/limits.conf, or `docker run --ulimit`"
    )
    return Check(name, "warn", f"limit {soft}: too few for 2000 streams", remedy)


def check_fonts(directories: list[Path]) -> Check:
    """Whether a font is installed that the plots of Chinese reports need."""
    for directory in directories:
        for file in directory.rglob("*.[to]t[fc]"):
            if any(name in file.name.lower().replace("-", "") for name in _CHINESE_FONTS):
                return Check("Chinese font", "ok", file.stem)
    return Check("Chinese font", "warn", "none: plots of Chinese reports show boxes", "Debian: `apt-get install fonts-noto-cjk`")


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()}")


def _gpu() -> list[Check]:
    from trtbench.gpu import inventory  # pynvml is loaded only where GPUs are asked for

    names = [str(gpu.get("name", "unnamed")) for gpu in inventory.describe()]
    driver = inventory.probe()
    if not names:
        remedy = "CPU engines (openvino) need none; for TensorRT-LLM install the NVIDIA driver, in a container use `docker run --gpus all`"
        return [Check("gpu", "warn", driver, remedy)]
    return [Check("gpu", "ok", f"{', '.join(names)}; {driver}"), check_gpu_control(os.geteuid()), *check_held_gpus()]


def check_held_gpus() -> list[Check]:
    """The GPU settings that a running process holds, or that a killed one did not restore."""
    remedy = "if it runs, wait for it to end; if it was killed, `trtbench gpu restore` puts the GPU back"
    try:
        found = [f"GPU {one.index}: by {one.owner}" for one in journals(state_directory())]
    except JournalError as error:
        found = [str(error)]
    return [Check("gpu held", "warn", one, remedy) for one in found]


def check_gpu_control(user_id: int) -> Check:
    """Whether this user may set clocks and power limits, which NVML allows only to root."""
    if user_id == 0:
        return Check("gpu control", "ok", "root: clocks and power limits can be set")
    return Check(
        "gpu control", "warn", "not root: clocks and power limits can be read, not set", "run as root where an experiment sets them"
    )


def _ports() -> Check:
    try:
        with ExitStack() as held:
            ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(_TRITON_PORTS)]
    except OSError as error:
        return Check(
            "ports", "fail", f"no free port on 127.0.0.1 ({error.strerror})", "bring the loopback interface up, or end what holds the ports"
        )
    return Check("ports", "ok", f"free on 127.0.0.1, such as {', '.join(map(str, ports))}")


def _memory() -> Check:
    bound = min(memory_bounds(), key=lambda bound: bound.available_bytes)
    if bound.kind == "cgroup":
        what, remedy = f"available in this container, limit {bound.limit_bytes / _GIB:.1f} GiB", "raise the container's memory limit"
    else:
        what, remedy = "available", "end other programs, or use a larger machine"
    return _enough("memory", bound.available_bytes, _FAIL_MEMORY_BYTES, _WARN_MEMORY_BYTES, what, remedy)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    if cores > 1:
        return Check("cores", "ok", f"{cores} usable")
    return Check(
        "cores", "warn", "1 usable: load generator and server share it, so latencies are the machine's, not the server's", "use 2 or more"
    )


def _chromium() -> Check:
    found = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if found:
        return Check("chromium", "ok", found)
    return Check("chromium", "warn", "none: the tests that open the report in a browser are skipped", "Debian: `apt-get install chromium`")


def _enough(name: str, amount: int, fail_below: int, warn_below: int, what: str, remedy: str) -> Check:
    found = f"{amount / _GIB:.1f} GiB {what}"
    if amount >= warn_below:
        return Check(name, "ok", found)
    return Check(name, "fail" if amount < fail_below else "warn", f"{found}, {warn_below / _GIB:.0f} are wanted", remedy)


def _nearest(directory: Path) -> Path:
    """The directory, or the first above it that exists."""
    absolute = directory.expanduser().absolute()
    return next(place for place in (absolute, *absolute.parents) if place.is_dir())
