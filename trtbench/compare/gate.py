"""The condition of `--fail-on`: which metric, on which stages, beyond which limit.

    [DEPLOYMENT/][STAGE:]METRIC>LIMIT  or  <LIMIT

    ttft.p99>+5%                   more than 5 % above the base
    output_token_throughput<-3%    more than 3 % below the base
    error_ratio>+0.2pp             more than 0.2 percentage points above the base
    ttft.p99>+20ms                 more than 20 ms above the base
    ttft.p99>500ms                 the candidate's own value is above 500 ms
    error_ratio>0.1%               the candidate's own share is above 0.1 %
    c8:ttft.p99>+5%                the stages named c8 only; default-int8/c8: of that deployment only

A limit with a sign is a difference from the base, one without is a value of the candidate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from trtbench.analysis.metric import Unit
from trtbench.analysis.named_figures import NamedFigure, figure_named
from trtbench.compare.difference import Difference
from trtbench.compare.interval import Interval
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

_FORM = re.compile(
    r"(?:(?P<deployment>[^/<>:\s]+)/)?(?:(?P<stage>[^/<>:\s]+):)?(?P<metric>[A-Za-z][A-Za-z0-9_.]*)\s*(?P<side>[<>])\s*"
    r"(?P<sign>[+-]?)(?P<number>\d{1,15}(?:\.\d{1,15})?)\s*(?P<unit>[^\s\d][^\s]*)?",
    re.ASCII,
)
_UNITS: dict[str, tuple[Unit, float]] = {
    "ns": ("ms", 1.0),
    "us": ("ms", 1e3),
    "ms": ("ms", 1e6),
    "s": ("ms", 1e9),
    "pp": ("ratio", 0.01),
    "tokens/s": ("tokens/s", 1.0),
    "requests/s": ("requests/s", 1.0),
    "inferences/s": ("inferences/s", 1.0),
    "J": ("J", 1.0),
    "J/token": ("J/token", 1.0),
}
"""Unit as written: the metric's unit that it belongs to, and the factor to the unit in which values are held (ns, shares)."""
Kind = Literal["change", "amount", "own"]


@dataclass(frozen=True, slots=True)
class Gate:
    """`limit`: in the unit in which values are held; a change is a share of the base. `above`: fails above the limit, else below it.
    `deployment` and `stage` are "" for all.
    """

    text: str
    metric: NamedFigure
    above: bool
    limit: float
    kind: Kind
    deployment: str = ""
    stage: str = ""

    def concerns(self, one: Difference) -> bool:
        names = one.deployment.split(" → ")
        return one.metric == self.metric and any(self.names(name, one.stage) for name in names)

    def names(self, deployment: str, stage: str) -> bool:
        """Whether the gate holds for this deployment and stage."""
        return self.stage in ("", stage) and self.deployment in ("", deployment)

    def interval(self, one: Difference) -> Interval | None:
        """The interval that is compared with the limit."""
        interval: Interval | None = getattr(one, self.kind)
        return interval

    def value(self, one: Difference) -> float | None:
        """The value that is compared with the limit, also where there is no interval."""
        if self.kind == "change":
            return one.change_ratio
        if self.kind == "own" or one.candidate is None:
            return one.candidate
        return None if one.base is None else one.candidate - one.base


def read_gate(text: str) -> Gate:
    """UserError for a text that is not a condition, a metric that does not exist, or a unit that the metric does not have."""
    found = _FORM.fullmatch(text.strip())
    flag = f"--fail-on {shown(text, 80)}"
    if found is None:
        raise UserError(f"{flag}: write METRIC>+5%, METRIC<-3% or METRIC>500ms, with STAGE: or DEPLOYMENT/STAGE: before it for one stage")
    metric = figure_named(found["metric"], flag)
    above, sign, unit = found["side"] == ">", found["sign"], found["unit"] or ""
    if (sign == "-" and above) or (sign == "+" and not above):
        instead = f"{found['metric']}{'>+' if above else '<-'}{found['number']}{unit}"
        raise UserError(f"{flag}: a difference fails above +LIMIT or below -LIMIT; write {instead}")
    number = float(found["number"]) * (-1 if sign == "-" else 1)
    kind, limit = _limit(flag, metric, number, bool(sign), unit)
    return Gate(text.strip(), metric, above, limit, kind, found["deployment"] or "", found["stage"] or "")


def _limit(flag: str, metric: NamedFigure, number: float, signed: bool, unit: str) -> tuple[Kind, float]:
    if unit == "%" and metric.unit != "ratio":
        if not signed:
            raise UserError(f"{flag}: {metric.name} is not a share; write +{number:g}% or -{number:g}% for a change from the base")
        return "change", number / 100
    if unit == "%":
        if signed:
            raise UserError(f"{flag}: {metric.name} is a share; write {abs(number):g}pp for percentage points from the base, or no sign")
        return "own", number / 100
    of, factor = _UNITS.get(unit, (metric.unit if not unit and metric.unit in ("", "count", "cores", "MHz", "W") else None, 1.0))
    if of != metric.unit:
        raise UserError(f"{flag}: {metric.name} has the unit {_written(metric.unit)}, not {shown(unit, 20) or 'none'}")
    return "amount" if signed else "own", number * factor


def _written(unit: Unit) -> str:
    return {"ms": "ms (also us and s)", "ratio": "% or, with a sign, pp"}.get(unit, unit or "none")
