"""Exact counters of the engine's steps. A gauge shows the last step before a scrape; these count every one.

TensorRT-LLM has no such counters: their names are ours, so that nobody takes them for its own.
"""

from collections import Counter

import metrics

ALONE, IN_COMPANY = "alone", "in_company"


class NoStepCounters:
    """Stands in for the backend's step counters where it has none; then its gauges are all that is known of its batch."""

    def count(self, scheduled, tokens):
        pass

    def publish(self):
        pass


class StepCounters:
    """Instances of one model share each counter; what is counted is shown at the next `publish`."""

    def __init__(self, model, version):
        self._labels = {"model": model, "version": version}
        self._steps = metrics.family("trtbench_engine_steps", "Engine steps, by the requests scheduled in them", "COUNTER")
        self._tokens = metrics.family("trtbench_engine_tokens", "Output tokens, by whether their step ran one request or more", "COUNTER")
        self._metrics = {}
        self._counted = Counter()

    def count(self, scheduled, tokens):
        """One step that ran `scheduled` requests and made `tokens`; a step that ran none is housekeeping."""
        if scheduled:
            self._counted[self._steps, "scheduled_requests", str(scheduled)] += 1
            self._counted[self._tokens, "made", IN_COMPANY if scheduled >= 2 else ALONE] += tokens

    def publish(self):
        for place, count in self._counted.items():
            if place not in self._metrics:
                family, label, value = place
                self._metrics[place] = metrics.metric(family, {**self._labels, label: value})
            if count:
                self._metrics[place].increment(count)
        self._counted = Counter()
