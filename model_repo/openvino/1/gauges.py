"""The gauges of the TensorRT-LLM backend, under its names and labels, on Triton's own /metrics page."""

import time

import metrics

PUBLISH_INTERVAL_MS = 20  # every gauge that moves costs the stub a message; scrapes come ten times more rarely

_FAMILIES = (
    (
        "nv_trt_llm_request_metrics",
        "request_type",
        {"active": "active", "max": "max", "scheduled": "scheduled", "context": "context", "waiting": "waiting"},
    ),
    ("nv_trt_llm_runtime_memory_metrics", "memory_type", {"memory_cpu": "cpu", "memory_gpu": "gpu", "memory_pinned": "pinned"}),
    (
        "nv_trt_llm_kv_cache_block_metrics",
        "kv_cache_block_type",
        {
            "kv_max": "max",
            "kv_free": "free",
            "kv_used": "used",
            "kv_tokens_per": "tokens_per",
            "kv_reused": "reused",
            "kv_fraction": "fraction",
        },
    ),
    (
        "nv_trt_llm_inflight_batcher_metrics",
        "inflight_batcher_specific_metric",
        {
            "context_tokens": "total_context_tokens",
            "generation_requests": "generation_requests",
            "paused_requests": "paused_requests",
            "micro_batch_id": "micro_batch_id",
        },
    ),
    ("nv_trt_llm_general_metrics", "general_type", {"iterations": "iteration_counter", "timestamp": "timestamp"}),
)
_SHARED = {"kv_tokens_per", "kv_fraction", "timestamp"}  # means, not sums, over the instances of a model


class Gauges:
    """Instances of one model share each gauge: every one adds its part, so the page shows their sum."""

    def __init__(self, model, version, instances, interval_ms=PUBLISH_INTERVAL_MS):
        self._instances = instances
        self._interval_ns = interval_ms * 1_000_000
        self._places = {}  # name -> (family, labels)
        self._metrics = {}
        self._shown = {}
        self._next_ns = 0
        for family_name, label, names in _FAMILIES:
            family = metrics.family(family_name, "As the TensorRT-LLM backend exports it", "GAUGE")
            for name, value in names.items():
                self._places[name] = family, {"model": model, "version": version, label: value}

    def due(self):
        return time.monotonic_ns() >= self._next_ns

    def publish(self, values):
        """Show `values`; a series appears on the page when it first has a value."""
        self._next_ns = time.monotonic_ns() + self._interval_ns
        for name, value in values.items():
            if name not in self._metrics:
                family, labels = self._places[name]
                self._metrics[name] = metrics.metric(family, labels)
                self._shown[name] = 0
            part = value / self._instances if name in _SHARED else value
            if part == self._shown[name]:
                continue
            if self._instances == 1:
                self._metrics[name].set(part)
            else:
                self._metrics[name].increment(part - self._shown[name])
            self._shown[name] = part
