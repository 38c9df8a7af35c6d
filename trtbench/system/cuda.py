"""The few calls of the CUDA driver that are needed, by ctypes: no toolkit, no torch. cuda.h has the signatures.

`python -m trtbench.system.cuda` prints the GPUs it sees as JSON: a process of its own, since a CUDA context stays with the process that
made it. CUDA_VISIBLE_DEVICES counts, as for a build or a server. Of a GPU in MIG mode CUDA shows one instance, with that one's memory.
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
_CHUNK_BYTES = 1 << 30  # one allocation of all there is fails where the rest is in pieces
_GRAIN_BYTES = 2 << 20  # what the driver rounds an allocation up to
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
"""Of a CUresult at the start, as cuda.h names it: what it means; what to do."""


@dataclass(frozen=True)
class CudaGpu:
    """`sm`: compute capability times ten, 90 for 9.0. `free_bytes`: what other processes leave. `uuid`: without GPU- or MIG- before it."""

    name: str
    sm: int
    total_bytes: int
    free_bytes: int
    uuid: str = ""


class CudaError(RuntimeError):
    """There is no driver, or a call to it failed; the message names it, its CUresult (`code`), and where known cause and remedy."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@cache
def visible_gpus() -> tuple[CudaGpu, ...]:
    """Empty when there is no driver or it shows no GPU. Asked once: it takes a process of its own, and what is free is judged at first."""
    try:
        return tuple(CudaGpu(**gpu) for gpu in json.loads(_asked().stdout))
    except (subprocess.SubprocessError, ValueError, TypeError):
        return ()


def no_gpu() -> str | None:
    """Why `visible_gpus` is empty, with the remedy; None when it is not. A driver that fails is no driver that shows nothing."""
    if visible_gpus():
        return None
    try:
        _asked()
    except subprocess.CalledProcessError as error:
        if said := (error.stderr.strip().splitlines() or [""])[-1]:
            return f"CUDA does not start: {said}" + ("" if ";" in said else "; see `dmesg`, and whether `nvidia-smi` answers")
    except subprocess.TimeoutExpired:
        return f"CUDA did not answer within {_TIMEOUT_S} s; see `dmesg`, and whether `nvidia-smi` answers"
    return "CUDA shows no GPU; check CUDA_VISIBLE_DEVICES, start a container with --gpus"


def _asked() -> subprocess.CompletedProcess[str]:
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
    """One of the devices that CUDA shows this process, with its primary context; CudaError when there is none."""

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
        self._driver("cuDeviceGetUuid_v2", own, self._device)  # of a MIG instance its own; the call without _v2 gives its GPU's
        return CudaGpu(name.value.decode(errors="replace"), major * 10 + minor, total, free, str(uuid.UUID(bytes=own.raw)))

    def memory_bytes(self) -> tuple[int, int]:
        """(free, total), this context's own share taken off."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def hold(self, size_bytes: int) -> int:
        """Allocate, until this process ends; the bytes held, less than asked when memory is full."""
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
    """CudaError when there is no driver, or it refuses. Where it may show no GPU, `cuInit` itself says so."""
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
