"""Triton's response cache: what it answered by Triton's counters, beside what it could have answered by the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trtbench.analysis.percentile import Distribution
from trtbench.analysis.window import Level, border_readings, rise
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples, read_lines

Prompts = Mapping[tuple[str, int], bytes]
"""(Stage, number of the prompt): a digest of the input that it sends. Equal inputs have equal digests."""


@dataclass(frozen=True, slots=True)
class CachedStage:
    """One stage of a server with a response cache. Counts are of requests.

    `answered` is Triton's count of requests that succeeded, `hits` and `misses` those of its cache. A miss whose answer a twin put in while
    it was computed counts as neither, so `hit_ratio` is hits / answered; hits / (hits + misses) would tell too much. `hit_mean_ns` is
    Triton's mean time to look an answer up, `miss_mean_ns` what the cache costs a request that it does not answer (the look-up, and
    putting the answer in).
    Of the requests `sent`, `repeats` ask what was asked before, and `servable` what had been answered before they were sent: no cache
    answers more than `repeats`, and one of any size and age answers `servable` (a server has the answer a little before its client). All
    requests of the deployment count as earlier ones, warm-up too. `servable_e2e_ns` and `other_e2e_ns` are latencies, from due, of the
    completed requests that are servable, and of all others.
    `evictions`, `entries`, `used_ratio` (the highest): None where the cache shows none (Redis).
    """

    stage: str
    answered: int
    hits: int
    misses: int
    hit_ratio: float | None
    hit_mean_ns: int | None
    miss_mean_ns: int | None
    sent: int
    repeats: int
    servable: int
    servable_e2e_ns: Distribution
    other_e2e_ns: Distribution
    evictions: int | None
    entries: int | None
    used_ratio: float | None

    @property
    def repeat_ratio(self) -> float | None:
        return self.repeats / self.sent if self.sent else None

    @property
    def servable_ratio(self) -> float | None:
        return self.servable / self.sent if self.sent else None


@dataclass(frozen=True, slots=True)
class Repeats:
    """Positions in a deployment's records: of requests that repeat an earlier one, and of those it had been answered for."""

    repeated: frozenset[int]
    servable: frozenset[int]


def read_prompts(plan_jsonl: Path) -> Prompts:
    """Of a saved plan; empty where there is none."""
    rows = (row for row in read_lines(plan_jsonl) if "input_ids" in row)
    return {(row["stage"], row["prompt"]): hashlib.blake2b(repr(row["input_ids"]).encode(), digest_size=16).digest() for row in rows}


def find_repeats(requests: Sequence[RequestRecord], prompts: Prompts) -> Repeats:
    """Over all requests of one deployment that were sent; a prompt that is not known repeats nothing."""
    asked = [(r.sent_ns, at, digest) for at, r in enumerate(requests) if r.sent_ns is not None and (digest := _digest(r, prompts))]
    answered: dict[bytes, int] = {}
    for request in requests:
        digest = _digest(request, prompts)
        if digest and request.outcome is Outcome.COMPLETED and request.done_ns is not None:
            answered[digest] = min(answered.get(digest, request.done_ns), request.done_ns)
    seen: set[bytes] = set()
    repeated, servable = set(), set()
    for sent_ns, at, digest in sorted(asked):
        if digest in seen:
            repeated.add(at)
        if digest in answered and answered[digest] <= sent_ns:
            servable.add(at)
        seen.add(digest)
    return Repeats(frozenset(repeated), frozenset(servable))


def cached_stage(
    name: str, start_ns: int, end_ns: int, requests: Sequence[RequestRecord], repeats: Repeats, samples: Samples
) -> CachedStage | None:
    """`requests` are all of the deployment's. None where Triton counted no look-up in the stage, or counted others' with it: requests
    of a warm-up that no reading parts from the stage's, or of clients that are not ours.
    """
    own = [at for at, r in enumerate(requests) if r.stage == name and not r.warmup and r.sent_ns is not None]
    start_ns = min((sent for at in own if (sent := requests[at].sent_ns) is not None), default=start_ns)
    borders = border_readings(samples.series("triton_success_count"), start_ns, end_ns)
    if borders is None or _counts_others(requests, set(own), *borders):
        return None
    kinds = ("hit_count", "miss_count", "hit_ns", "miss_ns")
    counted = {kind: round(rise(samples.series(f"response_cache_{kind}"), *borders)) for kind in kinds}
    hits, misses = counted["hit_count"], counted["miss_count"]
    answered = round(rise(samples.series("triton_success_count"), *borders))
    if not hits + misses or answered > sum(max(1, requests[at].attempts) for at in own):
        return None
    page = border_readings(samples.series("response_cache_entries"), start_ns, end_ns) or borders  # evictions are read with the entries
    entries, used = (_level(samples, f"response_cache_{kind}", start_ns, end_ns) for kind in ("entries", "used_ratio"))
    return CachedStage(
        stage=name,
        answered=answered,
        hits=hits,
        misses=misses,
        hit_ratio=hits / answered if answered else None,
        hit_mean_ns=round(counted["hit_ns"] / hits) if hits else None,
        miss_mean_ns=round(counted["miss_ns"] / misses) if misses else None,
        sent=len(own),
        repeats=len(repeats.repeated.intersection(own)),
        servable=len(repeats.servable.intersection(own)),
        servable_e2e_ns=_latency(requests[at] for at in own if at in repeats.servable),
        other_e2e_ns=_latency(requests[at] for at in own if at not in repeats.servable),
        evictions=round(rise(samples.series("response_cache_evictions"), *page)) if entries else None,
        entries=round(entries.max) if entries else None,
        used_ratio=used.max if used else None,
    )


def _digest(request: RequestRecord, prompts: Prompts) -> bytes | None:
    return prompts.get((request.stage, request.prompt))


def _latency(requests: Iterable[RequestRecord]) -> Distribution:
    done = [r for r in requests if r.outcome is Outcome.COMPLETED and r.done_ns is not None]
    return Distribution.of(r.done_ns - r.due_ns for r in done if r.done_ns is not None)


def _counts_others(requests: Sequence[RequestRecord], own: set[int], from_ns: int, to_ns: int) -> bool:
    """Whether a request that is not the stage's may have been counted between the two readings."""
    others = (r for at, r in enumerate(requests) if at not in own and r.sent_ns is not None and r.sent_ns < to_ns)
    return any(r.done_ns is None or r.done_ns > from_ns for r in others)


def _level(samples: Samples, name: str, start_ns: int, end_ns: int) -> Level | None:
    """From the reading at or before the start to the one at or after the end: a short stage may have none inside."""
    times, values = samples.series(name)
    first = max(int(np.searchsorted(times, start_ns, "right")) - 1, 0)
    return Level.of(values[first : int(np.searchsorted(times, end_ns, "left")) + 1])
