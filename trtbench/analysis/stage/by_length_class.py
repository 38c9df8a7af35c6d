"""The requests of a stage by the length class of their input, and what the model of each class did for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stage.batching import InflightBatching, TritonBatching, inflight_batching, padding_ratio, triton_batching
from trtbench.analysis.stage.latency import Group, group_of
from trtbench.analysis.stats.window import inside
from trtbench.rundir.deployment_facts import ServedClass
from trtbench.rundir.ragged import Ints
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples


@dataclass(frozen=True, slots=True)
class LengthClassResult:
    """The figures of one class. `upto_input_tokens` is None for the last class. The batching of its own model, the padding that this model
    computed, and the largest used ratio of its KV cache are None where one model serves all classes.
    """

    upto_input_tokens: int | None
    group: Group
    triton_batching: TritonBatching | None = None
    inflight: InflightBatching | None = None
    padding_ratio: float | None = None
    kv_used_ratio_peak: float | None = None


def class_numbers(classes: Sequence[ServedClass], input_tokens: Ints) -> Ints:
    """The position in `classes` of each request's class; shapes [n]."""
    bounds = [one.upto_input_tokens for one in classes if one.upto_input_tokens is not None]
    return np.searchsorted(np.asarray(bounds, np.int64), input_tokens, side="left")


def by_length_class(
    requests: Requests, classes: Sequence[ServedClass], of_models: Mapping[str, Samples], start_ns: int, end_ns: int, unary: bool
) -> dict[str, LengthClassResult] | None:
    """The result of each class that has requests; None for a deployment without classes. `of_models`: the samples of each class's model."""
    if not classes:
        return None
    numbers = class_numbers(classes, requests.input_tokens)
    found = {}
    for number, one in enumerate(classes):
        of_class, samples = requests.select(numbers == number), of_models.get(one.name, Samples(()))
        if len(of_class):
            found[one.name] = LengthClassResult(
                upto_input_tokens=one.upto_input_tokens,
                group=group_of(of_class),
                triton_batching=triton_batching(samples, start_ns, end_ns, None, unary=unary),
                inflight=inflight_batching(samples, start_ns, end_ns),
                padding_ratio=padding_ratio(samples, start_ns, end_ns, of_class, None),
                kv_used_ratio_peak=_kv_peak(samples, start_ns, end_ns),
            )
    return found


def _kv_peak(samples: Samples, start_ns: int, end_ns: int) -> float | None:
    used, most = (inside(samples.series(name), start_ns, end_ns) for name in ("kv_blocks_used", "kv_blocks_max"))
    return float(used.max() / most.max()) if len(used) and len(most) and most.max() > 0 else None
