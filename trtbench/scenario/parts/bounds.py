"""Lower and upper bounds of every number in a scenario: named types, each with one pair of inclusive bounds.

A bound is a value beyond which a load has no meaning, not a limit of a machine: the preflight checks memory, disk and open files. The
same bounds are `minimum` and `maximum` in `trtbench schema`, and a table in docs/scenarios.md.

The scenario of a run directory was checked when the run began, by the rules of that version. It is read again with the validation
context `OF_A_RUN`, under which an upper bound that was introduced later does not prevent a report of an older run.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from trtbench.scenario.parts.choices import MOST_ROUNDS

INT32 = 2**31 - 1
MOST_REQUESTS = 100_000_000
MOST_USERS = 100_000
MOST_TOKENS = 10_000_000
"""The most tokens of one prompt or one output: the longest context of a published model."""
MOST_DAYS = 30
MOST_SECONDS = MOST_DAYS * 86_400.0
MOST_DEPLOYMENTS = 1_000
"""The most deployments of one scenario, including those of a grid or a scaling with their repeats."""
_MOST_BYTES = 2**50
_MOST_KEY_DIGITS = 20
OF_A_RUN = {"of_a_run": True}


def is_of_a_run(info: ValidationInfo) -> bool:
    """Whether the scenario is read as that of a run directory."""
    return info.context is OF_A_RUN


@dataclass(frozen=True)
class AtMost:
    """Metadata of a `str` or a `dict`: its greatest length."""

    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.fitting, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = dict(handler(schema))
        return found | {"maxLength" if found.get("type") == "string" else "maxProperties": self.most}

    def fitting(self, value: Sized, info: ValidationInfo) -> Sized:
        if len(value) > self.most and not is_of_a_run(info):
            raise ValueError(f"must have at most {self.most} {'characters' if isinstance(value, str) else 'items'}")
        return value


@dataclass(frozen=True)
class Between:
    """Metadata of an `int` or a `float`: from `least` to `most`. Booleans, text, NaN and infinities are refused."""

    least: float
    most: float

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: object, info: ValidationInfo) -> float:
            bounds = self.widened if is_of_a_run(info) else self
            return bounds.whole(value) if source is int else bounds.real(value)

        return core_schema.with_info_before_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(handler(schema)) | {"minimum": self.least, "maximum": self.most}

    def whole(self, value: object) -> int:
        """ValueError, with both bounds, unless `value` is a whole number within them; 1000.0 is one."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise ValueError(f"must be a whole number from {self.shown}")
        return value

    def real(self, value: object) -> float:
        """ValueError, with both bounds, unless `value` is a number within them."""
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise ValueError(f"must be a number from {self.shown}")
        return float(value)

    @property
    def widened(self) -> Between:
        """Wider bounds for the scenario of a run: positive numbers stay positive, a ratio stays one, and no number is too large."""
        least = -sys.float_info.max if self.least < 0 else math.floor(self.least) or (sys.float_info.min if self.least else 0)
        return Between(least, self.most if self.most <= 1 else sys.float_info.max)

    @property
    def shown(self) -> str:
        return f"{_shown(self.least)} to {_shown(self.most)}"


def _shown(bound: float) -> str:
    """A number with thousands separated; a power of ten is written out."""
    if isinstance(bound, int):
        return f"{bound:,}"
    return f"{bound:,.0f}" if bound.is_integer() else f"{bound:.12f}".rstrip("0")


def _from_text(key: object) -> object:
    """The key of a mapping, because JSON and YAML dumps write it as text."""
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= _MOST_KEY_DIGITS else key


# Load
Requests = Annotated[int, Between(1, MOST_REQUESTS)]
RequestsOrNone = Annotated[int, Between(0, MOST_REQUESTS)]
UserCount = Annotated[int, Between(1, MOST_USERS)]
UserCountOrNone = Annotated[int, Between(0, MOST_USERS)]
RequestRate = Annotated[float, Between(0.0001, 1_000_000.0)]
RequestRateOrNone = Annotated[float, Between(0.0, 1_000_000.0)]
RampSteps = Annotated[int, Between(2, MOST_USERS)]
Burstiness = Annotated[float, Between(0.001, 1_000_000.0)]
Speed = Annotated[float, Between(0.001, 1_000_000.0)]

# Time
Seconds = Annotated[float, Between(0.001, MOST_SECONDS)]
SecondsOrNone = Annotated[float, Between(0.0, MOST_SECONDS)]
WholeSeconds = Annotated[int, Between(1, 86_400)]
LimitMs = Annotated[float, Between(0.001, MOST_SECONDS * 1000)]
IntervalMs = Annotated[int, Between(50, 3_600_000)]
PeriodMs = Annotated[int, Between(1, 3_600_000)]
PeriodMsOrNone = Annotated[int, Between(0, 3_600_000)]
PauseMs = Annotated[float, Between(0.0, 100.0)]
Microseconds = Annotated[int, Between(0, int(MOST_SECONDS) * 1_000_000)]

# Lengths
Tokens = Annotated[int, Between(1, MOST_TOKENS)]
TokensMean = Annotated[float, Between(1.0, float(MOST_TOKENS))]
TokensDeviation = Annotated[float, Between(0.001, float(MOST_TOKENS))]
LogDeviation = Annotated[float, Between(0.001, 10.0)]
BlockTokens = Annotated[int, Between(8, 256)]
TraceBlockTokens = Annotated[int, Between(1, 65_536)]

# Tensors
TensorSize = Annotated[int, Between(1, INT32)]
BatchItems = Annotated[int, Between(1, 1_000_000)]
InputRows = Annotated[int, Between(1, 1_000_000)]
InputInteger = Annotated[int, Between(0, 2**62)]
StringBytes = Annotated[int, Between(0, 1 << 20)]

# Shares and weights
Ratio = Annotated[float, Between(0.0, 1.0)]
RatioAboveZero = Annotated[float, Between(0.000001, 1.0)]
RatioBelowOne = Annotated[float, Between(0.0, 0.999999)]
RatioInside = Annotated[float, Between(0.000001, 0.999999)]
Weight = Annotated[float, Between(0.0, 1e12)]
WeightAboveZero = Annotated[float, Between(0.000001, 1e12)]
Zipf = Annotated[float, Between(0.001, 100.0)]
Factor = Annotated[float, Between(1.001, 1_000_000.0)]
Price = Annotated[float, Between(0.000001, 1e12)]
GpuShare = Annotated[float, Between(0.01, 100_000.0)]
Temperature = Annotated[float, Between(0.0, 1000.0)]

# Counts
Count = Annotated[int, Between(1, INT32)]
CountOrNone = Annotated[int, Between(0, INT32)]
Sequence = Annotated[int, Between(2, INT32)]
"""Tokens of a prompt and one more."""
Repeats = Annotated[int, Between(1, 1000)]
RoundCount = Annotated[int, Between(2, MOST_ROUNDS)]
"""Rounds of a load; one has no interval."""
Instances = Annotated[int, Between(1, 1024)]
Threads = Annotated[int, Between(1, 4096)]
Ranks = Annotated[int, Between(1, 1024)]
Servers = Annotated[int, Between(1, 64)]
Workers = Annotated[int, Between(1, 64)]
ErrorCount = Annotated[int, Between(1, 10_000)]
Retries = Annotated[int, Between(0, 10)]
Confirmations = Annotated[int, Between(0, 100)]
Windows = Annotated[int, Between(2, 10_000)]
PriorityLevels = Annotated[int, Between(0, 1000)]
PriorityKey = Annotated[int, Between(1, 1000), BeforeValidator(_from_text)]
Groups = Annotated[int, Between(1, 1_000_000)]
Seed = Annotated[int, Between(-(2**63), 2**64 - 1)]

# Models
ModelVersion = Annotated[int, Between(1, 10**18 - 1)]
VocabularySize = Annotated[int, Between(2, INT32)]
EndId = Annotated[int, Between(-1, INT32)]

# Machine
GpuIndex = Annotated[int, Between(0, 1023)]
ClockMhz = Annotated[int, Between(1, 100_000)]
Watts = Annotated[float, Between(1.0, 100_000.0)]
Celsius = Annotated[int, Between(20, 100)]
MemoryGib = Annotated[float, Between(0.001, 1_000_000.0)]
CacheMb = Annotated[float, Between(0.000001, 1_000_000_000.0)]
Bytes = Annotated[int, Between(1, _MOST_BYTES)]
BytesOrNone = Annotated[int, Between(0, _MOST_BYTES)]
Port = Annotated[int, Between(1, 65_535)]
Database = Annotated[int, Between(0, INT32)]


def finite(tree: object, where: str = "") -> None:
    """ValueError, with the place, for NaN or an infinity in free-form options."""
    if isinstance(tree, float) and not math.isfinite(tree):
        raise ValueError(f"{where} = {tree}: must be a finite number")
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ():
        finite(value, f"{where}.{key}" if where else str(key))
