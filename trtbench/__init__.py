"""Benchmark suite for models served by NVIDIA Triton: from a checkpoint to a report."""

__version__ = "0.1.0"
