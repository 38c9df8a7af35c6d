"""Reads the columns of all requests of a deployment, and derives figures from their token responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trtbench.rundir.ragged import Ints, Mask, Ragged
from trtbench.rundir.records import EngineCounts, Outcome
from trtbench.rundir.request_file import RequestFile, one_chunk
from trtbench.rundir.requests import MISSING, Column, Requests, Texts
from trtbench.rundir.schema import NEEDED, REQUEST_SCHEMA, SERVER_TIMES

_NUMBERS = (
    "index",
    "prompt",
    "input_tokens",
    "asked_output_tokens",
    "due_ns",
    "sent_ns",
    "done_ns",
    "done_lag_ns",
    "session",
    "text_tokens",
    "planned_input_tokens",
    "admitted_ns",
)
_ZERO_WHERE_ABSENT = ("attempts", "turn", "echoed_tokens", "reasoning_responses")
_FLAGS = ("warmup", "planned_cancel", "read_with_end")
_TEXTS = ("stage", "outcome", "error", "model_version", "mix", "finish_reason")
_LISTS = ("token_ns", "token_counts", "token_lag_ns", "coalesced")
_STRUCTS = {"server": SERVER_TIMES, "engine": EngineCounts.__slots__}
_NAMES = (*_NUMBERS, *_ZERO_WHERE_ABSENT, *_FLAGS, *_TEXTS, *_LISTS, *_STRUCTS)
_OUTCOMES = tuple(outcome.value for outcome in Outcome)


def load_requests(file: RequestFile) -> Requests:
    """All requests that can be read. A request that lacks a required value, or whose lists have different lengths, is left out and
    counted.
    """
    parts: list[dict[str, Column]] = []
    texts = {name: _Coder(_OUTCOMES if name == "outcome" else ()) for name in _TEXTS}
    broken = 0
    for start, table in file.groups(_NAMES):
        columns, good = _group(table, texts)
        columns["row"] = np.arange(start, start + table.num_rows)
        parts.append(columns if good.all() else {name: column[good] for name, column in columns.items()})
        broken += int((~good).sum())
    if broken:
        file.note_broken(broken)
    if not parts:
        none = pa.table({name: pa.nulls(0, REQUEST_SCHEMA.field(name).type) for name in _NAMES})
        parts.append(_group(none, texts)[0] | {"row": np.empty(0, np.int64)})
    joined = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    coded = {name: Texts(joined.pop(f"{name}.code"), coder.values) for name, coder in texts.items()}
    return Requests(joined, coded, file)


class _Coder:
    """Numbers texts in the order of their first appearance."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._codes = {text: code for code, text in enumerate(known)}

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self._codes)

    def codes(self, column: pa.Array) -> Any:
        """[n]: the numbers of the texts; a missing text counts as an empty one."""
        encoded = pc.fill_null(column, "").dictionary_encode()
        codes = np.array([self._codes.setdefault(text, len(self._codes)) for text in encoded.dictionary.to_pylist()], np.int32)
        return codes[encoded.indices.to_numpy()] if len(codes) else np.empty(0, np.int32)


def _group(table: pa.Table, texts: dict[str, _Coder]) -> tuple[dict[str, Column], Mask]:
    """(The columns of a row group, a mask of its valid requests)."""
    arrays = {name: one_chunk(table[name]) for name in _NAMES}
    columns: dict[str, Column] = {name: _numbers(arrays[name], MISSING) for name in _NUMBERS}
    columns |= {name: _numbers(arrays[name], 0) for name in _ZERO_WHERE_ABSENT}
    columns |= {name: pc.fill_null(arrays[name], False).to_numpy(zero_copy_only=False) for name in _FLAGS}
    columns |= {f"{name}.code": texts[name].codes(arrays[name]) for name in _TEXTS}
    for struct, fields in _STRUCTS.items():
        present = np.asarray(pc.is_valid(arrays[struct]))
        columns[f"has_{struct}"] = present
        for name, values in zip(fields, arrays[struct].flatten(), strict=True):
            columns[f"{struct}.{name}"] = _numbers(values, MISSING)
    lists = {name: Ragged.of(arrays[name]) for name in _LISTS}
    good = _good(arrays, lists, columns["outcome.code"])
    return columns | _token_facts(lists, np.maximum(columns["reasoning_responses"], 0)), good


def _good(arrays: dict[str, pa.Array], lists: dict[str, Ragged], outcomes: Any) -> Mask:
    good: Mask = outcomes < len(_OUTCOMES)
    for name in NEEDED:
        good &= np.asarray(pc.is_valid(arrays[name]))
    good &= lists["token_ns"].lengths == lists["token_counts"].lengths
    for name, ragged in lists.items():
        if arrays[name].flatten().null_count:
            good[np.unique(ragged.rows()[np.asarray(arrays[name].flatten().is_null())])] = False
    counts = lists["token_counts"]
    if len(counts.values) and counts.values.min() < 0:
        good[np.unique(counts.rows()[counts.values < 0])] = False
    return good


def _token_facts(lists: dict[str, Ragged], reasoning_responses: Ints) -> dict[str, Column]:
    arrivals, counts = lists["token_ns"], lists["token_counts"]
    responses, gaps = arrivals.lengths, arrivals.gaps()
    return {
        "responses": responses,
        "first_token_ns": arrivals.firsts(MISSING),
        "first_output_ns": arrivals.at(reasoning_responses, MISSING),
        "last_token_ns": arrivals.lasts(MISSING),
        "longest_gap_ns": gaps.most(MISSING),
        "in_order": gaps.with_values(-gaps.values).most(0) <= 0,
        "output_tokens": counts.sums(),
        "each_has_one": (counts.most(1) == 1) & (counts.sums() == counts.lengths),
        "lag_count": lists["token_lag_ns"].lengths,
        "coalesced_count": lists["coalesced"].lengths,
        "reported_tokens": np.full(len(responses), -1, np.int64),
    }


def _numbers(column: pa.Array, absent: int) -> Any:
    return pc.fill_null(column.cast(pa.int64()), absent).to_numpy(zero_copy_only=False)
