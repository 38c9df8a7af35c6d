"""The calls of the CUDA driver that trtbench needs, made with ctypes so that neither the toolkit nor torch has to be installed.

The signatures are those of cuda.h. `python -m trtbench.system.cuda` prints the visible GPUs as JSON; it is a separate process, because a
CUDA context stays in a process until that ends. CUDA_VISIBLE_DEVICES applies, as for a build or a server. Of a GPU in MIG mode, CUDA
shows one instance and the memory of that instance.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass
from functools import cache

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_NAME_BYTES, _UUID_BYTES = 96, 16
_TIMEOUT_S = 60
_OUT_OF_MEMORY, _NO_DEVICE = 2, 100
_CHUNK_BYTES = 1 << 30  # memory is allocated in chunks, because a single allocation fails where the free memory is fragmented
_GRAIN_BYTES = 2 << 20  # the driver rounds an allocation up to a multiple of this
_MEANINGS = {
    2: "GPU memory is full; end what holds it (`trtbench gpu status`)",
    34: "the libcuda.so.1 found is the toolkit's stub; take the stubs out of LD_LIBRARY_PATH, or run on a GPU node",
    46: "another process holds the GPU alone; end it, or set compute mode default",
    _NO_DEVICE: "no GPU; check CUDA_VISIBLE_DEVICES, start a container with --gpus",
    802: "the system is not ready; on machines with NVSwitch start nvidia-fabricmanager of the driver's version",
    803: "libcuda and the kernel's driver differ in version; reboot the node, or take the other libcuda out of LD_LIBRARY_PATH",
    804: "forward compatibility is of data-centre GPUs alone; take a newer driver, or an older image",
    999: "unknown to CUDA; see `dmesg`, and whether /dev/nvidia-uvm is there (`nvidia-modprobe -u`)",
}
"""Error codes (CUresult of cuda.h) that CUDA returns when it starts: what each means, and what to do."""


@dataclass(frozen=True)
class CudaGpu:
    """A GPU as CUDA shows it. `sm` is the compute capability times ten (90 for 9.0), `free_bytes` the memory that no process uses, `uuid`
    the UUID without the prefix GPU- or MIG-."""

    name: str
    sm: int
    total_bytes: int
    free_bytes: int
    uuid: str = ""


class CudaError(RuntimeError):
    """There is no driver, or a call to it failed. The message names the call, its CUresult (`code`), and, if known, cause and remedy."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@cache
def visible_gpus() -> tuple[CudaGpu, ...]:
    """The GPUs that CUDA shows; none if there is no driver.

    They are queried once, which takes a separate process; so `free_bytes` is what was free before this process used any GPU."""
    try:
        return tuple(CudaGpu(**gpu) for gpu in json.loads(_queried().stdout))
    except (subprocess.SubprocessError, ValueError, TypeError):
        return ()


def no_gpu() -> str | None:
    """The cause of an empty `visible_gpus`, with the remedy; None if it has some. A failing driver differs from one that shows no GPU."""
    if visible_gpus():
        return None
    try:
        _queried()
    except subprocess.CalledProcessError as error:
        if message := (error.stderr.strip().splitlines() or [""])[-1]:
            return f"CUDA does not start: {message}" + ("" if ";" in message else "; see `dmesg`, and whether `nvidia-smi` answers")
    except subprocess.TimeoutExpired:
        return f"CUDA did not answer within {_TIMEOUT_S} s; see `dmesg`, and whether `nvidia-smi` answers"
    return "CUDA shows no GPU; check CUDA_VISIBLE_DEVICES, start a container with --gpus"


def _queried() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trtbench.system.cuda"]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)


class Driver:
    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError("there is no CUDA driver (libcuda.so.1) on this machine") from error
        self("cuInit", ctypes.c_uint(0))

    def __call__(self, name: str, *arguments: object) -> None:
        if code := self.code(name, *arguments):
            meaning = f": {_MEANINGS[code]}" if code in _MEANINGS else ""
            raise CudaError(f"{name} failed (CUresult {code}){meaning}", code)

    def code(self, name: str, *arguments: object) -> int:
        return int(getattr(self._library, name)(*arguments))

    def count(self) -> int:
        count = ctypes.c_int()
        self("cuDeviceGetCount", ctypes.byref(count))
        return count.value


class Device:
    """One of the devices that CUDA shows to this process, and its primary context. CudaError if there is no such device."""

    def __init__(self, driver: Driver, index: int = 0) -> None:
        self._driver, self._device, context = driver, ctypes.c_int(), ctypes.c_void_p()
        driver("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(index))
        driver("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        driver("cuCtxSetCurrent", context)

    def release(self) -> None:
        self._driver("cuDevicePrimaryCtxRelease_v2", self._device)

    def describe(self) -> CudaGpu:
        free, total = self.memory_bytes()
        major, minor = self._attribute(_MAJOR), self._attribute(_MINOR)
        name, own = ctypes.create_string_buffer(_NAME_BYTES), ctypes.create_string_buffer(_UUID_BYTES)
        self._driver("cuDeviceGetName", name, _NAME_BYTES, self._device)
        self._driver("cuDeviceGetUuid_v2", own, self._device)  # the UUID of a MIG instance; the call without _v2 gives its GPU's
        return CudaGpu(name.value.decode(errors="replace"), major * 10 + minor, total, free, str(uuid.UUID(bytes=own.raw)))

    def memory_bytes(self) -> tuple[int, int]:
        """(free, total). The memory that this context itself uses does not count as free."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def hold(self, size_bytes: int) -> int:
        """Allocate memory until this process ends; returns how many bytes, which are fewer than requested if memory is full."""
        held, chunk = 0, _CHUNK_BYTES
        while held < size_bytes and chunk >= _GRAIN_BYTES:
            size = min(chunk, size_bytes - held)
            code = self._driver.code("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(size))
            if code == _OUT_OF_MEMORY:
                chunk = min(chunk, size) // 2
            elif code:
                raise CudaError(f"cuMemAlloc_v2 failed (CUresult {code})")
            else:
                held += size
        return held

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._driver("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value


def ask_driver() -> list[CudaGpu]:
    """The GPUs that CUDA shows; CudaError if there is no driver, or if a call fails.

    `cuInit` returns an error of its own where the driver shows no GPU; that is an empty list here."""
    try:
        driver, found = Driver(), []
    except CudaError as error:
        if error.code == _NO_DEVICE:
            return []
        raise
    for index in range(driver.count()):
        device = Device(driver, index)
        try:
            found.append(device.describe())
        finally:
            device.release()
    return found


if __name__ == "__main__":
    try:
        print(json.dumps([asdict(gpu) for gpu in ask_driver()]))
    except CudaError as error:
        sys.exit(str(error))
