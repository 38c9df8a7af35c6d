"""Traits of an engine provider, as a run records them. Analysis and report read them instead of the provider's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of every engine of one provider. All are False for an unknown server.

    The first group is read by analysis and report, the second before a run; `traits` in deployment.json contains all of them.
    """

    gauges_valid_at_rest: bool = False  # its gauges are current while no request is in the engine, too
    kv_gauge_omits_cached: bool = False  # its gauge of used KV blocks counts those of requests alone, not what prefix caching keeps
    sizes_kv_for_all_sequences: bool = False  # unless a size is set, its KV cache holds the longest request in every place of the batch
    takes_cpu_threads: bool = False  # it computes with `inference_threads` on the CPU
    triton_batches_are_one: bool = False  # it takes requests in flight one by one, so Triton's statistics show batches of one by design
    runs_pytorch: bool = False  # it serves the checkpoint by PyTorch, without a built engine

    uses_gpus: bool = False  # its servers compute on GPUs, and hold weights and KV cache there
    kv_takes_free_memory: bool = False  # without a bound, its KV cache takes a share of the GPU memory that is free at the start
    builds_per_scheduler_limits: bool = False  # in-flight limits belong to the engine, so other limits of the scheduler are other engines
    build_limits_hold: bool = False  # limits set in `build` hold for the server, whatever the scheduler asks
    workers_beside_server: bool = False  # processes other than the server's use the same GPU

    def as_json(self) -> dict[str, bool]:
        return asdict(self)


EARLIER = {
    "openvino": Traits(
        gauges_valid_at_rest=True,
        kv_gauge_omits_cached=True,
        sizes_kv_for_all_sequences=True,
        takes_cpu_threads=True,
    ),
    "tensorrt_llm": Traits(
        triton_batches_are_one=True,
        uses_gpus=True,
        kv_takes_free_memory=True,
        builds_per_scheduler_limits=True,
        build_limits_hold=True,
    ),
    "llmapi": Traits(runs_pytorch=True, uses_gpus=True, kv_takes_free_memory=True, build_limits_hold=True, workers_beside_server=True),
    "tensorrt": Traits(uses_gpus=True),
}
"""Traits of providers in runs written before traits were recorded. A new provider needs no entry, because its runs record them."""


def read_traits(recorded: Mapping[str, bool] | None, provider: str | None) -> Traits:
    """The traits of a run. `recorded`: the `traits` of a deployment.json of any version. A missing one is derived from the provider's
    name, or is False.
    """
    known = {one.name: recorded[one.name] for one in fields(Traits) if one.name in recorded} if recorded else {}
    return replace(EARLIER.get(provider or "", Traits()), **known)
