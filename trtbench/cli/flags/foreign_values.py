"""Values as other tools write them, in our form."""

from __future__ import annotations

import re
from collections.abc import Callable

from trtbench.errors import UserError

MOST_LEVELS = 64
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", re.ASCII)
DURATION = re.compile(rf"(?:{_AMOUNT.pattern}){{1,4}}", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def duration(flag: str, text: str) -> str:
    """Seconds of `30`, `30s`, `500ms`, `2m`, `1m30s` or `1h`."""
    if _NUMBER.fullmatch(text):
        return f"{float(text):.10g}"
    if not DURATION.fullmatch(text):
        raise UserError(f"{flag} {text[:60]}: not a duration; write seconds, as 30, or 30s, 2m, 1h")
    return f"{sum(float(amount) * _SECONDS[unit] for amount, unit in _AMOUNT.findall(text)):.10g}"


def levels(flag: str, text: str) -> str:
    """`1,3,5,7` of perf_analyzer's START:END:STEP, `1:8:2`; END and STEP may be left out, the last level is at most END."""
    parts = text.split(":")
    if len(parts) > 3 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise UserError(f"{flag} {text[:60]}: write START:END:STEP, as 1:8:2")
    start = float(parts[0])
    end = float(parts[1]) if len(parts) > 1 else start
    step = float(parts[2]) if len(parts) > 2 else 1.0
    if end == 0:
        raise UserError(
            f"{flag} {text}: an END of 0 searches without end; name the last level, as {start:g}:{max(start, 1) * 8:g}:{step:g}"
        )
    if end < start or step <= 0:
        raise UserError(f"{flag} {text}: END must be at least START and STEP above 0, as 1:8:2")
    count = int((end - start) / step + 1e-9) + 1
    if count > MOST_LEVELS:
        raise UserError(f"{flag} {text}: {count} levels, at most {MOST_LEVELS} are possible; raise STEP")
    return ",".join(f"{start + number * step:.10g}" for number in range(count))


READERS: dict[str, Callable[[str, str], str]] = {"duration": duration, "range": levels, "rates": levels}
