"""What padding costs an encoder."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.window import increase
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples


def padding_ratio(
    samples: Samples, start_ns: int, end_ns: int, requests: Sequence[RequestRecord], padded_to_tokens: int | None
) -> float | None:
    """Padding / all tokens that were computed: as the model counts them, or as the client padded. None where neither is known."""
    done = [request.input_tokens for request in requests if request.outcome is Outcome.COMPLETED]
    if padded_to_tokens and done:
        return 1 - sum(done) / (len(done) * padded_to_tokens)
    asked, padding = (increase(samples.series("encoder_tokens", kind), start_ns, end_ns) for kind in ("input", "padding"))
    return padding / (asked + padding) if asked and padding is not None else None
