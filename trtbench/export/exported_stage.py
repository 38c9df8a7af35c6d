"""One stage of a run as the writers see it: its measured requests by the definitions that most tools share, which count from the send time.

trtbench's own figures count from the scheduled time. Files of other tools have fields for what was sent, so latencies here begin at
`sent_ns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trtbench.analysis.loader import RecordedRun
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario

Floats = npt.NDArray[np.float64]
NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True)
class ExportedStage:
    """The measured requests [n] of one stage. `wall_offset_ns` turns instants of the run's clock into wall clock time.

    `run_is_complete`: the run came to its own end.
    """

    scenario: Scenario
    deployment: str
    model: str
    name: str
    requests: Requests
    wall_offset_ns: int
    run_is_complete: bool

    @cached_property
    def asked(self) -> Stage | None:
        """The stage in the scenario; None if the run has a stage that its scenario lacks."""
        return next((stage for stage in self.scenario.load if stage.label == self.name), None)

    @cached_property
    def completed(self) -> Mask:
        """[n] Completed, with a send time and an end."""
        requests = self.requests
        done: Mask = requests.ended(Outcome.COMPLETED) & (requests.sent_ns != MISSING) & (requests.done_ns != MISSING)
        return done

    @cached_property
    def done(self) -> Requests:
        """The completed requests [m], to which every array below belongs."""
        return self.requests.select(self.completed)

    @cached_property
    def latency_ms(self) -> Floats:
        return (self.done.done_ns - self.done.sent_ns) / NS_PER_MS

    @cached_property
    def ttft_ms(self) -> Floats:
        """[m] NaN for a request without output tokens."""
        return span_ms(self.done.sent_ns, self.done.first_token_ns)

    @cached_property
    def output_tokens(self) -> Ints:
        return self.done.output_tokens

    @cached_property
    def tpot_ms(self) -> Floats:
        """[m] (latency - TTFT) / (output tokens - 1): what aiperf calls inter-token latency and vLLM TPOT. NaN below two tokens."""
        several = self.output_tokens > 1
        return np.where(several, (self.latency_ms - self.ttft_ms) / np.maximum(self.output_tokens - 1, 1), np.nan)

    @cached_property
    def gaps_ms(self) -> tuple[Floats, ...]:
        """[m] The gaps between consecutive responses of each request."""
        found: list[Floats] = [np.empty(0)] * len(self.done)
        for tokens in self.done.tokens():
            offsets, values = tokens.arrivals.offsets, tokens.arrivals.values
            for row, at in enumerate(tokens.at.tolist()):
                found[at] = np.diff(values[offsets[row] : offsets[row + 1]]) / NS_PER_MS
        return tuple(found)

    @property
    def seconds(self) -> float:
        """The time from the first send to the last end of a completed request; 0 if none completed."""
        return float(self.done.done_ns.max() - self.done.sent_ns.min()) / NS_PER_S if len(self.done) else 0.0

    def rate(self, amount: float) -> float | None:
        return amount / self.seconds if self.seconds else None

    def wall_ns(self, instant_ns: int) -> int:
        return instant_ns + self.wall_offset_ns


def exported_stages(run: RecordedRun) -> Iterator[ExportedStage]:
    """The stages of every deployment in the order in which they ran."""
    anchor = run.environment
    offset_ns = anchor.anchor_wall_ns - anchor.anchor_monotonic_ns
    for deployment in run.deployments():
        deployment.note_missing()
        for name in _names(deployment.requests.measured):
            requests = deployment.requests.stage(name)
            yield ExportedStage(run.scenario, deployment.name, run.scenario.model, name, requests, offset_ns, run.came_to_its_end)


def _names(requests: Requests) -> list[str]:
    texts = requests.texts("stage")
    first = {texts.values[code]: int(requests.due_ns[texts.codes == code].min()) for code in np.unique(texts.codes).tolist()}
    return sorted(first, key=lambda name: first[name])


def span_ms(start_ns: Ints, end_ns: Ints) -> Floats:
    """[n] The time between two instants; NaN where a request lacks one of them."""
    spans: Floats = np.where((start_ns == MISSING) | (end_ns == MISSING), np.nan, (end_ns - start_ns) / NS_PER_MS)
    return spans


def per_second(amount: Floats | Ints | float, time_ms: Floats) -> Floats:
    """[m] NaN where the time is 0 or unknown."""
    known = np.where(np.nan_to_num(time_ms) > 0, time_ms, np.nan)
    rates: Floats = 1000 * amount / known
    return rates


def finite(values: Floats) -> Floats:
    kept: Floats = values[np.isfinite(values)]
    return kept
