"""The result of one reload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtbench.analysis.stats.percentile import Distribution
from trtbench.experiments.hot_reload.windows import Baseline
from trtbench.rundir.records import Outcome

_NOT_LOST = (Outcome.NEVER_SENT.value, Outcome.CANCELLED.value)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """One reload. `repeat` counts equal ones; `warmup`: Triton warmed up what was loaded; `control`: explicit or poll.

    The window runs from its start until recovered, or to `until_ns`, the next reload or the end of the load, if it never was.

    `before`: the undisturbed requests up to the start, None when there were none; `after`: those from the recovery to the next reload or
    the end of the load, None where it was not seen to recover. `ttft`, of an encoder the E2E latency, is of requests due in the window or
    waiting for their first answer when it began, `itl` of gaps that ended in it. A spike ratio compares P99s, or maxima where one of the
    two lacks the samples for a P99; that of `ttft` is None where over 1 % of the requests were lost. `recovery_ns` counts from the start
    and is never below the reload's own duration; None: not seen. Memory has its peak up to `until_ns`: what was replaced goes late.
    `failed` counts requests of the window that did not complete, by outcome. `overlap_ns`: more than one version was live; None where
    the version keeps its number and the index does not show it. `first_request_penalty_ns`: TTFT of the first request completed by what was
    loaded, less the median before; it had its first token at `first_answer_ns`. `loaded_ns`: when the load call returned, or was seen
    to be done. Of blue_green, `switched_s` after the start the client turned to the new model, and `drain_s` later nothing sent to the
    old one was under way. `served_on`: versions that were ready before and still were after, None if not known.
    """

    number: int
    repeat: int
    kind: str
    to: str | None
    breaks: str | None
    warmup: bool
    control: str
    start_ns: int
    end_ns: int | None
    until_ns: int
    loaded: bool
    error: str
    load_s: float | None
    loaded_ns: int | None
    unload_s: float | None
    switched_s: float | None
    drain_s: float | None
    version: str | None
    served_on: tuple[str, ...] | None
    before: Baseline | None
    after: Baseline | None
    ttft_ns: Distribution
    itl_ns: Distribution
    ttft_spike_ratio: float | None
    itl_spike_ratio: float | None
    recovery_ns: int | None
    requests: int
    failed: dict[str, int]
    overlap_ns: int | None
    first_request_penalty_ns: float | None
    first_answer_ns: int | None
    rss_before_bytes: float | None
    rss_peak_bytes: float | None
    gpu_before_bytes: float | None
    gpu_peak_bytes: float | None

    @property
    def window_end_ns(self) -> int:
        return self.until_ns if self.recovery_ns is None else self.start_ns + self.recovery_ns

    @property
    def as_meant(self) -> bool:
        """Whether the reload did what was requested: the server refused a broken version, or loaded any other and completed the other
        steps.
        """
        return self.load_s is not None and self.loaded is (self.kind != "broken") and not (self.loaded and self.error)

    @property
    def lost(self) -> int:
        """Requests that failed, except those that the end of the load cancelled."""
        return lost_of(self.failed)


def lost_of(failed: Mapping[str, int]) -> int:
    """The number of lost requests, from counts by outcome."""
    return sum(count for outcome, count in failed.items() if outcome not in _NOT_LOST)
