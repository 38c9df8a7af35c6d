"""What padding costs an encoder."""

from __future__ import annotations

from trtbench.analysis.stats.window import increase
from trtbench.rundir import Requests, Samples


def padding_ratio(samples: Samples, start_ns: int, end_ns: int, requests: Requests, padded_to_tokens: int | None) -> float | None:
    """Padding / all tokens that were computed: as the model counts them, or as the client padded. None where neither is known."""
    done = requests.completed.input_tokens
    if padded_to_tokens and len(done):
        return 1 - int(done.sum()) / (len(done) * padded_to_tokens)
    asked, padding = (increase(samples.series("encoder_tokens", kind), start_ns, end_ns) for kind in ("input", "padding"))
    return padding / (asked + padding) if asked and padding is not None else None
