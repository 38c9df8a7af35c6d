"""Triton model repositories for TensorRT-LLM: its C++ backend on engines, and its LLM API's model."""
