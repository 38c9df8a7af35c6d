"""What servers wrote to their logs since an instant, and what that tells of memory and blocks that ran out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from trtbench.system.memory import Memory, short_memory

_MOST_BYTES = 1 << 20
_LINE_CHARACTERS = 300
_NO_BLOCKS = re.compile(r"no free blocks|can't allocate new blocks", re.IGNORECASE)


class LogShortage(NamedTuple):
    says: Memory | Literal["kv_cache"]
    line: str


class LogMark:
    """Where the logs of a deployment's servers ended when it was made; a log that is not there has nothing to tell."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._ends = {log: log.stat().st_size for log in logs if log.exists()}

    def shortage_since(self) -> LogShortage | None:
        """Of the first line since that tells of one; of a long text the end is read."""
        for log, end in self._ends.items():
            with log.open("rb") as file:
                file.seek(max(end, file.seek(0, 2) - _MOST_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
            for line in lines:
                says = short_memory(line) or ("kv_cache" if _NO_BLOCKS.search(line) else None)
                if says:
                    return LogShortage(says, line.strip()[:_LINE_CHARACTERS])
        return None
