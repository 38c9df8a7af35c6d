"""Tensors in and out of Triton's Python stub, through DLPack only: model_repo/openvino/1/tensors.py says why.

One response's memory serves for all: Triton has copied it when `send` returns.
"""

import ctypes

import numpy as np
import triton_python_backend_utils as pb_utils

_CPU = (1, 0)  # kDLCPU, device 0


class _DLTensor(ctypes.Structure):
    """DLManagedTensor of dlpack.h, version 0."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_NO_DELETER = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value  # the stub calls it unasked; the memory is ours


class _Int32:
    """A DLPack producer of 32-bit integers, shape given."""

    def __init__(self, *shape):
        self.values = (ctypes.c_int32 * shape[-1])()
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        address = ctypes.addressof(self.values)
        self._tensor = _DLTensor(address, _CPU, len(shape), 0, 32, 1, self._shape, deleter=_NO_DELETER)

    def __dlpack__(self, stream=None):
        return _new_capsule(ctypes.addressof(self._tensor), b"dltensor", None)

    def __dlpack_device__(self):
        return _CPU


class Response:
    """`ids` [4] may still change between `prepare` and the send of what it gave: Triton reads them then."""

    def __init__(self):
        self._ids = _Int32(1, 1, 4)
        self._length = _Int32(1, 1)
        self._length.values[0] = 4
        self.ids = self._ids.values

    def prepare(self):
        outputs = {"output_ids": self._ids, "sequence_length": self._length}
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(name, tensor) for name, tensor in outputs.items()])


def integers(request, name):
    """The values of one input."""
    tensor = next(tensor for tensor in request.inputs() if tensor.name() == name)
    return np.from_dlpack(tensor).reshape(-1).tolist()
