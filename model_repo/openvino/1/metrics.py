"""Metrics on Triton's own /metrics page that stay until the process has gone."""

import ctypes

import triton_python_backend_utils as pb_utils


def family(name, description, kind):
    """`kind`: a name of pb_utils.MetricFamily's, in capitals."""
    return _kept(pb_utils.MetricFamily(name=name, description=description, kind=getattr(pb_utils.MetricFamily, kind)))


def metric(of, labels, **options):
    return _kept(of.Metric(labels=labels, **options))


def _kept(made):
    """Triton drops what its object leaves. At the interpreter's end that crashes the stub, before it the whole server (2.51)."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made
