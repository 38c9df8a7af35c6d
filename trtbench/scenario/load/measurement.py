"""How a load is judged, sampled, drawn and ended: Slo, Telemetry, Seeds, Stop."""

from __future__ import annotations

from pydantic import Field, model_validator

from trtbench.scenario.parts.bounds import ErrorCount, IntervalMs, LimitMs, RatioAboveZero, Seconds, SecondsOrNone, Seed, Windows
from trtbench.scenario.parts.part import Part

_GOOD_RATIO = 0.99


class Slo(Part):
    """Latencies in milliseconds that a request must keep to count as goodput. A limit that is left out is not checked."""

    ttft_ms: LimitMs | None = Field(None, description="Largest TTFT.")
    itl_ms: LimitMs | None = Field(None, description="Largest gap between two token responses.")
    tpot_ms: LimitMs | None = Field(None, description="Largest TPOT.")
    e2e_latency_ms: LimitMs | None = Field(None, description="Largest end-to-end latency.")
    gate: bool | None = Field(None, description="End the command with 5 if it is shown that too few requests kept the limits.")
    least_good_ratio: RatioAboveZero | None = Field(
        None, description="With gate: the share of the planned requests that must keep every limit. The default is 0.99."
    )

    @property
    def limits_ms(self) -> dict[str, float]:
        """The limits that are set, by the name of the latency."""
        limits = {"ttft": self.ttft_ms, "itl": self.itl_ms, "tpot": self.tpot_ms, "e2e_latency": self.e2e_latency_ms}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @property
    def good_ratio(self) -> float:
        return _GOOD_RATIO if self.least_good_ratio is None else self.least_good_ratio

    @model_validator(mode="after")
    def _check_gate(self) -> Slo:
        if self.gate and not self.limits_ms:
            raise ValueError("gate needs a limit: set ttft_ms, itl_ms, tpot_ms or e2e_latency_ms, or leave gate out")
        if self.least_good_ratio is not None and not self.gate:
            raise ValueError("least_good_ratio is for the gate: set gate: true, or leave it out")
        return self


class Telemetry(Part):
    interval_ms: IntervalMs = Field(250, description="Time between samples of Triton, processes and GPU.")


_ROUND_STRIDE = 1_000_000  # two scenarios with seeds near each other have no round in common
_SEEDS = 2**64


def _wrapped(seed: int) -> int:
    """The same seed of 64 bits, within its bounds."""
    return seed if seed < _SEEDS else seed - _SEEDS


class Seeds(Part):
    """A seed for each dimension of the plan, so that each can be changed alone."""

    arrivals: Seed = Field(1, description="Draws when requests are due.")
    lengths: Seed = Field(2, description="Draws the lengths of prompts and outputs.")
    prompts: Seed = Field(3, description="Draws the text or the tokens of prompts.")
    sampling: Seed = Field(4, description="Is sent to the server with each request, for sampling.")
    order: Seed = Field(5, description="Draws the order of deployments and stages in repeats.")

    def of_round(self, number: int) -> Seeds:
        """The seeds of a round of `repeats`: a million is added for each round before it, so that rounds are independent draws. Those of
        the first round are the scenario's own.
        """
        return Seeds(**{name: _wrapped(seed + (number - 1) * _ROUND_STRIDE) for name, seed in self if name != "order"}, order=self.order)


class Stability(Part):
    """A stage is steady if request rate and P99 latency of its last windows each stay near their mean."""

    ratio: RatioAboveZero = Field(0.05, description="Largest distance from the mean, as a share of it.")
    windows: Windows = Field(3, description="Number of windows that are compared.")
    window_s: Seconds = Field(10.0, description="Length of a window.")


class Stop(Part):
    stability: Stability | None = Field(None, description="End a stage as soon as its figures are steady; null: at its own bounds only.")
    error_ratio: RatioAboveZero | None = Field(
        None, description="End the deployment's load after a stage with a larger share of requests that did not complete."
    )
    consecutive_errors: ErrorCount | None = Field(None, description="End the load when this number of requests in a row have failed.")
    timeout_s: Seconds = Field(120.0, description="A request's own time limit, from due.")
    drain_s: SecondsOrNone = Field(30.0, description="After an interrupt: longest wait for what is in flight.")
