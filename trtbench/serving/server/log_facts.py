"""Facts from the logs of servers: what TensorRT-LLM logs while it loads, and which memory ran out since an instant (LogMark)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trtbench.system.memory import Memory, short_memory

_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = r"(\d{1,15}(?:\.\d{1,6})?) ([KMG]i?B)"


@dataclass(frozen=True)
class LogFacts:
    """What a log has about an engine; None for a fact that it does not have. Bytes are rounded as in the log.

    The last line counts: the LLM API first tries a small KV cache, and the last one is what serves. Facts are those of one rank.
    """

    engine_version: str | None = None
    max_sequences: int | None = None
    max_batch_size: int | None = None
    max_beam_width: int | None = None
    max_sequence_tokens: int | None = None
    max_step_tokens: int | None = None
    max_input_tokens: int | None = None
    scheduler_policy: str | None = None
    chunking_policy: str | None = None
    engine_bytes: int | None = None
    execution_context_bytes: int | None = None
    runtime_buffer_bytes: int | None = None
    decoder_bytes: int | None = None
    gpu_total_bytes: int | None = None
    gpu_available_bytes: int | None = None
    kv_bytes: int | None = None
    kv_tokens: int | None = None
    kv_blocks: int | None = None
    kv_host_blocks: int | None = None
    kv_block_tokens: int | None = None

    def blocks(self, block_tokens: int) -> int | None:
        """The blocks of the KV cache on the GPU. `block_tokens` is used if the log does not have the size of a block."""
        tokens = None if self.kv_tokens is None else self.kv_tokens // (self.kv_block_tokens or block_tokens)
        return self.kv_blocks if self.kv_blocks is not None else tokens

    def known(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def _size(number: str, unit: str) -> int:
    return round(float(number) * _BYTES[unit])


_PATTERNS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("engine_version", r"Engine version (\S{1,40}) found in the config file", str),
    ("max_sequences", r"TRTGptModel maxNumSequences: (\d{1,15})\b", int),
    ("max_batch_size", r"TRTGptModel maxBatchSize: (\d{1,15})\b", int),
    ("max_beam_width", r"TRTGptModel maxBeamWidth: (\d{1,15})\b", int),
    ("max_sequence_tokens", r"TRTGptModel maxSequenceLen: (\d{1,15})\b", int),
    ("max_step_tokens", r"TRTGptModel maxNumTokens: (\d{1,15})\b", int),
    ("max_input_tokens", r"TRTGptModel maxInputLen: (\d{1,15})\b", int),
    ("scheduler_policy", r"Capacity Scheduler Policy: (\w{1,60})", str),
    ("chunking_policy", r"Context Chunking Scheduler Policy: (\w{1,60})", str),
    ("engine_bytes", rf"Loaded engine size: {_SIZE}", _size),
    ("execution_context_bytes", rf"Allocated {_SIZE} for execution context memory", _size),
    ("runtime_buffer_bytes", rf"Allocated {_SIZE} GPU memory for runtime buffers", _size),
    ("decoder_bytes", rf"Allocated {_SIZE} GPU memory for decoder", _size),
    ("gpu_total_bytes", rf"calculating max tokens in paged kv cache: total: {_SIZE}", _size),
    ("gpu_available_bytes", rf"calculating max tokens in paged kv cache: total: [^\n]{{1,40}}?, available: {_SIZE}", _size),
    ("kv_bytes", rf"Allocated {_SIZE} for max tokens in paged KV cache", _size),
    ("kv_bytes", r"Max tokens in paged KV cache: \d{1,15}\. Allocating (\d{1,18}) bytes", int),
    ("kv_tokens", r"for max tokens in paged KV cache \((\d{1,15})\)", int),
    ("kv_tokens", r"Max tokens in paged KV cache: (\d{1,15})\.", int),
    ("kv_blocks", r"Number of blocks in KV cache primary pool: (\d{1,15})\b", int),
    ("kv_host_blocks", r"Number of blocks in KV cache secondary pool: (\d{1,15})\b", int),
    ("kv_block_tokens", r"Number of tokens per block: (\d{1,15})\b", int),
)
"""(Field, pattern, reader of its groups). Two patterns of one field are those of different releases, of which a log has one."""

assert {name for name, _, _ in _PATTERNS} == {field.name for field in fields(LogFacts)}


def log_facts(text: str) -> LogFacts:
    """The facts in the text of a log, which may be any text."""
    found = {name: read(*matches[-1].groups()) for name, pattern, read in _PATTERNS if (matches := list(re.finditer(pattern, text)))}
    return LogFacts(**found)


_MOST_BYTES = 1 << 20
_LINE_CHARACTERS = 300
_NO_BLOCKS = re.compile(r"no free blocks|can't allocate new blocks", re.IGNORECASE)


class LogShortage(NamedTuple):
    says: Memory | Literal["kv_cache"]
    line: str


class LogMark:
    """The ends of the logs of a deployment's servers at an instant. Logs that do not exist are ignored."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._ends = {log: log.stat().st_size for log in logs if log.exists()}

    def shortage_since(self) -> LogShortage | None:
        """The shortage in the first line since then that reports one; only the end of a long text is read."""
        for log, end in self._ends.items():
            with log.open("rb") as file:
                file.seek(max(end, file.seek(0, 2) - _MOST_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
            for line in lines:
                says = short_memory(line) or ("kv_cache" if _NO_BLOCKS.search(line) else None)
                if says:
                    return LogShortage(says, line.strip()[:_LINE_CHARACTERS])
        return None
