"""Triton's response cache in one stage: the requests it answered, by Triton's counters, and those it could have answered, by the plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.experiment_analysis import DeploymentRecords
from trtbench.analysis.found import Key
from trtbench.analysis.loader import PromptDigests
from trtbench.analysis.stage.latency import e2e_latency_ns
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.window import Level, border_readings, rise
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

_NEVER_NS = 2**63 - 1
CACHED_STAGES: Key[tuple[CachedStage, ...]] = Key("cached_stages")
"""The stages of a deployment with a response cache; none without one."""


@dataclass(frozen=True, slots=True)
class CachedStage:
    """One stage of a server with a response cache. Counts are of requests.

    `answered` is Triton's count of successful requests, `hits` and `misses` are those of its cache. A miss whose answer an equal request
    inserted while it was computed counts as neither, so `hit_ratio` is hits / answered; hits / (hits + misses) would be too high.
    `hit_mean_ns` is Triton's mean time to look an answer up, `miss_mean_ns` the mean cost of the cache for a request that it does not
    answer (look-up and insertion).

    Of the requests `sent`, `repeats` equal an earlier request, and `servable` equal one that had been answered before they were sent. No
    cache answers more than `repeats`, and a cache of any size and age answers `servable` (a server has the answer slightly before its
    client). All requests of the deployment count as earlier ones, including warm-up. `servable_e2e_ns` and `other_e2e_ns` are latencies,
    from the due time, of completed requests that are servable, and of all others.

    `evictions`, `entries`, `used_ratio` (the highest): None if the cache does not report them (Redis).
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
    """The requests [n] of a deployment that repeat an earlier one, and those of them that were sent after its answer had arrived."""

    repeated: Mask
    servable: Mask


def cached_stages(records: DeploymentRecords) -> tuple[CachedStage, ...]:
    """The stages of a deployment with a response cache. The plan is read only if the server has one."""
    requests, samples = records.requests, records.samples
    if not len(samples.series("response_cache_miss_count")[0]):
        return ()
    repeats = find_repeats(requests, records.prompts())
    spans = [stage.span for stage in records.stages]
    found = (cached_stage(span.name, span.start_ns, span.end_ns, requests, repeats, samples) for span in spans)
    return tuple(stage for stage in found if stage)


def find_repeats(requests: Requests, prompts: PromptDigests) -> Repeats:
    """The repeats among the sent requests of one deployment. An unknown prompt counts as new."""
    inputs, kinds = _inputs(requests, prompts)
    sent, done = requests.sent_ns, requests.done_ns
    answered = np.full(kinds, _NEVER_NS)
    done_well = (inputs >= 0) & requests.ended(Outcome.COMPLETED) & (done != MISSING)
    np.minimum.at(answered, inputs[done_well], done[done_well])
    asked = np.flatnonzero((inputs >= 0) & (sent != MISSING))
    asked = asked[np.argsort(sent[asked], kind="stable")]
    repeated, servable = np.zeros(len(requests), np.bool_), np.zeros(len(requests), np.bool_)
    repeated[asked] = True
    repeated[asked[np.unique(inputs[asked], return_index=True)[1]]] = False
    servable[asked] = answered[inputs[asked]] <= sent[asked]
    return Repeats(repeated, servable)


def _inputs(requests: Requests, prompts: PromptDigests) -> tuple[Ints, int]:
    """(For each request a number that equal inputs share, -1 if the input is unknown; the number of different inputs.)"""
    stages, numbers = requests.texts("stage"), {digest: i for i, digest in enumerate(dict.fromkeys(prompts.values()))}
    inputs = np.full(len(requests), -1, np.int64)
    for code, stage in enumerate(stages.values):
        own = stages.codes == code
        asked, places = np.unique(requests.prompt[own], return_inverse=True)
        known = [numbers.get(prompts.get((stage, str(prompt)), b""), -1) for prompt in asked.tolist()]
        inputs[own] = np.array(known, np.int64)[places]
    return inputs, len(numbers)


def cached_stage(name: str, start_ns: int, end_ns: int, requests: Requests, repeats: Repeats, samples: Samples) -> CachedStage | None:
    """The figures of one stage. `requests` are all of the deployment's. None if Triton counted no look-up in the stage, or counted
    other requests with it: those of a warm-up that no reading separates from the stage, or those of other clients.
    """
    own = requests.texts("stage").equal(name) & ~requests.warmup & (requests.sent_ns != MISSING)
    start_ns = int(requests.sent_ns[own].min()) if own.any() else start_ns
    borders = border_readings(samples.series("triton_success_count"), start_ns, end_ns)
    if borders is None or _counts_others(requests.select(~own), *borders):
        return None

    def counted(name: SeriesName) -> int:
        return round(rise(samples.series(name), *borders))

    hits, misses = counted("response_cache_hit_count"), counted("response_cache_miss_count")
    answered = counted("triton_success_count")
    if not hits + misses or answered > int(np.maximum(1, requests.attempts[own]).sum()):
        return None
    page = border_readings(samples.series("response_cache_entries"), start_ns, end_ns) or borders  # evictions are read with the entries
    entries = _level(samples, "response_cache_entries", start_ns, end_ns)
    used = _level(samples, "response_cache_used_ratio", start_ns, end_ns)
    return CachedStage(
        stage=name,
        answered=answered,
        hits=hits,
        misses=misses,
        hit_ratio=hits / answered if answered else None,
        hit_mean_ns=round(counted("response_cache_hit_ns") / hits) if hits else None,
        miss_mean_ns=round(counted("response_cache_miss_ns") / misses) if misses else None,
        sent=int(own.sum()),
        repeats=int((repeats.repeated & own).sum()),
        servable=int((repeats.servable & own).sum()),
        servable_e2e_ns=Distribution.of(e2e_latency_ns(requests.select(own & repeats.servable).completed)),
        other_e2e_ns=Distribution.of(e2e_latency_ns(requests.select(own & ~repeats.servable).completed)),
        evictions=round(rise(samples.series("response_cache_evictions"), *page)) if entries else None,
        entries=round(entries.max) if entries else None,
        used_ratio=used.max if used else None,
    )


def _counts_others(others: Requests, from_ns: int, to_ns: int) -> bool:
    """Whether a request outside the stage may have been counted between the two readings."""
    sent, done = others.sent_ns, others.done_ns
    return bool(((sent != MISSING) & (sent < to_ns) & ((done == MISSING) | (done > from_ns))).any())


def _level(samples: Samples, name: SeriesName, start_ns: int, end_ns: int) -> Level | None:
    """The level over the readings around the window, from the last before it to the first after it, because a short stage may contain
    none.
    """
    times, values = samples.series(name)
    first = max(int(np.searchsorted(times, start_ns, "right")) - 1, 0)
    return Level.of(values[first : int(np.searchsorted(times, end_ns, "left")) + 1])
