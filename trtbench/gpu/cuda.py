"""The few calls of the CUDA driver API that hold memory on a GPU, by ctypes: no toolkit, no torch. cuda.h has the signatures."""

from __future__ import annotations

import ctypes

_OUT_OF_MEMORY = 2
_CHUNK_BYTES = 1 << 30  # one allocation of all there is fails where the rest is in pieces
_GRAIN_BYTES = 2 << 20  # what the driver rounds an allocation up to


class CudaError(RuntimeError):
    """A driver call failed; the message names it and the code."""


class Device:
    """The first device that CUDA shows this process, with its primary context; CudaError when there is none."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CudaError("there is no CUDA driver (libcuda.so.1) on this machine") from error
        self._call("cuInit", ctypes.c_uint(0))
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def memory_bytes(self) -> tuple[int, int]:
        """(free, total), this context's own share taken off."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def hold(self, size_bytes: int) -> int:
        """Allocate, until this process ends; the bytes held, less than asked when memory is full."""
        held, chunk = 0, _CHUNK_BYTES
        while held < size_bytes and chunk >= _GRAIN_BYTES:
            size = min(chunk, size_bytes - held)
            address = ctypes.c_uint64()
            code = self._library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
            if code == _OUT_OF_MEMORY:
                chunk = min(chunk, size) // 2
            elif code:
                raise CudaError(f"cuMemAlloc_v2 failed with CUDA error {code}")
            else:
                held += size
        return held

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise CudaError(f"{name} failed with CUDA error {code}")
