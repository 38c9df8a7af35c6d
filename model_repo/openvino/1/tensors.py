"""Tensors in and out of Triton's Python stub, through DLPack only.

The stub of Triton 24.10 was built for NumPy 1 and reads NumPy 2's array descriptors at the wrong place: `as_numpy` repeats the
first element, a Tensor made from an array comes out empty, a string tensor ends the process. DLPack passes plain memory, so it
is right with every NumPy. Capsules are of our own making: the stub renames NumPy's in a way that NumPy complains of each time.
"""

import ctypes

import numpy as np
import triton_python_backend_utils as pb_utils

_CPU = (1, 0)  # kDLCPU, device 0
_SIGNED, _FLOATING = 0, 2  # kDLInt, kDLFloat


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

# The stub calls the deleter without asking whether there is one; the memory is Python's, so it gets a function that does nothing.
_NO_DELETER = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value


class _Exported:
    """Memory as a DLPack producer; holds its `owner`, so it must live until the response has been sent."""

    def __init__(self, owner, address, code, bits, shape):
        self._owner = owner
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._tensor = _DLTensor(
            data=address,
            device=_CPU,
            ndim=len(shape),
            code=code,
            bits=bits,
            lanes=1,
            shape=self._shape,
            deleter=_NO_DELETER,
        )

    def __dlpack__(self, stream=None):
        return _new_capsule(ctypes.addressof(self._tensor), b"dltensor", None)

    def __dlpack_device__(self):
        return _CPU


class Floats(_Exported):
    """A contiguous float32 array of NumPy."""

    def __init__(self, array):
        super().__init__(array, array.ctypes.data, _FLOATING, 32, array.shape)


def _integers(ctype, shape, values):
    data = (ctype * len(values))(*values)
    return _Exported(data, ctypes.addressof(data), _SIGNED, 8 * ctypes.sizeof(ctype), shape)


def send(sender, int32_outputs, int64_outputs, flags):
    """Send one response; outputs are {name: (shape, values)}."""
    exported = {name: _integers(ctypes.c_int32, *output) for name, output in int32_outputs.items()}
    exported |= {name: _integers(ctypes.c_int64, *output) for name, output in int64_outputs.items()}
    tensors = [pb_utils.Tensor.from_dlpack(name, producer) for name, producer in exported.items()]
    sender.send(pb_utils.InferenceResponse(tensors), flags=flags)


def inputs(request):
    """The request's inputs by name, each flattened: a batch dimension of 1 carries nothing."""
    return {tensor.name(): np.from_dlpack(tensor).reshape(-1) for tensor in request.inputs()}


def shaped_input(request, name):
    """One input as it came, with its batch dimension."""
    return np.from_dlpack(next(tensor for tensor in request.inputs() if tensor.name() == name))
