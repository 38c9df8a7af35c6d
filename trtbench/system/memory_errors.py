"""Which memory ran out, by the words of an error or of a log: a GPU's, or the host's."""

from __future__ import annotations

import re
from typing import Literal

Memory = Literal["device", "host"]

_HOST = re.compile(
    r"bad_alloc|\bMemoryError\b|cannot allocate memory|\bENOMEM\b|DefaultCPUAllocator: (?:can't|not enough)"
    r"|(?:cudaMallocHost|cudaHostAlloc|cudaHostRegister|cuMemHostAlloc)[^\n]{0,200}(?:out of memory|memory ?allocation)",
    re.IGNORECASE,
)
"""CUDA's calls for pinned memory say `out of memory` of the host's."""
_DEVICE = re.compile(
    r"\b(?:CUDA|HIP|cudnn)\b[^\n]{0,200}out of memory|OutOfMemoryError|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY"
    r"|CUBLAS_STATUS_ALLOC_FAILED|(?:cudaMalloc|cuMemAlloc|allocateAsync)[^\n]{0,200}out of memory"
    r"|Requested amount of GPU memory \(\d{1,20} bytes\) could not be allocated",
    re.IGNORECASE,
)


def short_memory(text: str) -> Memory | None:
    """None where the text tells of none, or only that memory ran out."""
    if _HOST.search(text):
        return "host"
    return "device" if _DEVICE.search(text) else None


def is_kv_cache_full(text: str) -> bool:
    """Of an error: whether it says that the KV cache has, or could ever have, too few blocks."""
    return re.search(r"kv[ _]?cache|no free blocks|can't allocate new blocks", text, re.IGNORECASE) is not None
