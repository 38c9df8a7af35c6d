"""What the engine computed, on Triton's own /metrics page: tokens that were asked, and the padding that batches of mixed lengths cost."""

import metrics


class TokenCounters:
    """Instances of one model share each counter."""

    def __init__(self, model, version):
        family = metrics.family("trtbench_encoder_tokens", "Tokens that the encoder computed, by whether a request had them", "COUNTER")
        place = {"model": model, "version": version}
        self._input, self._padding = (metrics.metric(family, place | {"token_type": kind}) for kind in ("input", "padding"))

    def count(self, lengths):
        """One batch of sequences of these lengths."""
        asked = sum(lengths)
        self._input.increment(asked)
        self._padding.increment(len(lengths) * max(lengths) - asked)
