"""The search for the highest load at which a deployment keeps a service level objective (SLO)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from trtbench.rundir.latency_limits import LatencyLimit, LatencyName
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.bounds import Between, LimitMs, RatioInside, RequestRate, Requests
from trtbench.scenario.parts.part import Part

NS_PER_MS = 1_000_000
Percentile = Annotated[float, Between(50.0, 99.99)]
Probes = Annotated[int, Between(3, 64)]
ProbeSeconds = Annotated[float, Between(6.0, 86_400.0)]
"""Enough for the blocks of requests that a verdict needs (probe_judge.py)."""
LoadBy = Literal["concurrency", "rate"]

_NAMES: dict[str, LatencyName] = {"ttft": "ttft", "itl": "itl", "tpot": "tpot", "e2e": "e2e", "e2el": "e2e"}
_MS = {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}
_CLAUSE = re.compile(r"([a-z0-9]{1,20})[:=](\d{1,15}(?:\.\d{1,15})?)(ms|us|s)?(?:,p(\d{2}(?:\.\d{1,4})?))?", re.ASCII)
_FORM = "write NAME:MILLISECONDS,pPERCENTILE, as ttft:500,p99, with one of ttft, itl, tpot, e2e"
_SHOWN = 60


def _from_text(value: object) -> object:
    """The keys of a clause that is written as text, as on the command line."""
    if not isinstance(value, str):
        return value
    found = _CLAUSE.fullmatch(value.strip().lower())
    if found is None or found[1] not in _NAMES:
        raise ValueError(f"{value[:_SHOWN]!r} is not a clause of an SLO: {_FORM}")
    clause: dict[str, Any] = {"latency": _NAMES[found[1]], "limit_ms": float(found[2]) * _MS[found[3] or ""]}
    return clause | ({"percentile": float(found[4])} if found[4] else {})


class Clause(Part):
    """A latency of which a share of all requests must stay within a limit. A request that does not complete breaks every clause."""

    latency: LatencyName = Field(description="ttft, itl (each gap of a request), tpot or e2e.")
    limit_ms: LimitMs = Field(description="Largest latency in milliseconds.")
    percentile: Percentile = Field(99.0, description="Percentage of the requests that must keep the limit.")

    @property
    def allowed_ratio(self) -> float:
        """The share of requests that may break the limit."""
        return 1 - self.percentile / 100

    @property
    def limit(self) -> LatencyLimit:
        return LatencyLimit(self.latency, self.limit_ms * NS_PER_MS)

    @property
    def key(self) -> str:
        """The key of `slo` that limits the same latency."""
        return "e2e_latency_ms" if self.latency == "e2e" else f"{self.latency}_ms"

    @property
    def label(self) -> str:
        """The clause as it may be written in a scenario."""
        return f"{self.latency}:{self.limit_ms:g},p{self.percentile:g}"


SloClause = Annotated[Clause, BeforeValidator(_from_text, json_schema_input_type=Clause | str)]


class Capacity(Part):
    """Doubles the load until the SLO breaks, then halves the interval between the last load that keeps it and the first that does not."""

    slo: tuple[SloClause, ...] = Field(
        min_length=1, max_length=4, description="Clauses, all of which must hold: {latency, limit_ms, percentile}, or text as ttft:500,p99."
    )
    by: LoadBy = Field("concurrency", description="What is raised: users of a closed loop, or requests per second of an open loop.")
    arrivals: Literal["poisson", "constant"] = Field("poisson", description="Arrivals of the open loop.")
    start: RequestRate = Field(1.0, description="Load of the first probe: users, or requests per second.")
    least: RequestRate | None = Field(
        None, description="Smallest load that is tried if the first probe breaks the SLO; null: one user, or a sixteenth of start."
    )
    most: RequestRate = Field(1024.0, description="Largest load that is tried.")
    resolution: RatioInside = Field(0.05, description="The search ends when the two loads differ by at most this share.")
    probes: Probes = Field(12, description="Most probes of one deployment, the confirmation among them.")
    probe_s: ProbeSeconds = Field(60.0, description="Longest time of one probe; it ends earlier when its verdict is certain enough.")
    probe_requests: Requests = Field(2000, description="Most requests of one probe.")

    @model_validator(mode="after")
    def _in_order(self) -> Capacity:
        if not self.least_load <= self.start <= self.most:
            raise ValueError(
                f"start ({self.start:g}) has to be between least ({self.least_load:g}) and most ({self.most:g}): change one of them"
            )
        for key in ("start", "least", "most"):
            value = getattr(self, key)
            if self.by == "concurrency" and value is not None and not value.is_integer():
                raise ValueError(f"{key} ({value:g}) is a number of users with by: concurrency: give a whole number, or by: rate")
        labels = [(clause.latency, clause.percentile) for clause in self.slo]
        if len(set(labels)) < len(labels):
            raise ValueError("slo: two clauses have the same latency and percentile: give one of them")
        return self

    def check_beside(self, grid: Part | None, stability: Part | None, unused: Sequence[str]) -> None:
        """ValueError for keys of the scenario that do not fit. `unused`: keys of `slo` without meaning for the scenario's task."""
        if getattr(grid, "search", False):
            raise ValueError("grid.search and capacity exclude each other: the race of cells compares stages of load; drop one")
        if stability:
            raise ValueError("stop.stability and capacity exclude each other: a probe ends when its verdict is certain; drop one")
        for clause in self.slo:
            if clause.key in unused:
                raise ValueError(f"capacity.slo: {clause.label}: the task of this scenario has no {clause.latency}; limit another latency")

    def stage(self, number: int, level: float, repeat: bool) -> Stage:
        """The stage of a probe. Its name, and so its requests, differ from those of every other probe."""
        name = f"{'repeat' if repeat else 'probe'}{number}-{'c' if self.by == 'concurrency' else ''}{level:g}"
        bounds = {"requests": max(self.probe_requests, math.ceil(level)), "duration_s": self.probe_s, "warmup_requests": math.ceil(level)}
        if self.by == "concurrency":
            return Stage(name=name, concurrency=int(level), **bounds)
        return Stage(name=name, mode=self.arrivals, rate=level, **bounds)

    @property
    def least_load(self) -> float:
        """The smallest load that is tried."""
        return self.least if self.least is not None else 1.0 if self.by == "concurrency" else self.start / 16
