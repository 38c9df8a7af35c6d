"""What the engine computed, on Triton's own /metrics page: tokens that were asked, and the padding that batches of mixed lengths cost."""

import triton_python_backend_utils as pb_utils


class TokenCounters:
    """Instances of one model share each counter."""

    def __init__(self, model, version):
        self._family = pb_utils.MetricFamily(  # Triton drops a family when its object goes
            name="trtbench_encoder_tokens",
            description="Tokens that the encoder computed, by whether a request had them",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        place = {"model": model, "version": version}
        self._input, self._padding = (self._family.Metric(labels=place | {"token_type": kind}) for kind in ("input", "padding"))

    def count(self, lengths):
        """One batch of sequences of these lengths."""
        asked = sum(lengths)
        self._input.increment(asked)
        self._padding.increment(len(lengths) * max(lengths) - asked)
