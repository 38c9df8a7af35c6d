"""CPU, memory and GPU over a stage, as sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.window import Level, inside
from trtbench.analysis.workers import Worker, workers
from trtbench.rundir import Samples, Series

NS_PER_S = 1_000_000_000

POWER_CAP = 0x4
SLOWDOWN = 0x8 | 0x20 | 0x40 | 0x80
"""Bits of NVML's clocks-event reasons (nvml.h): software power cap; hardware slowdown, software and hardware thermal, power brake."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One GPU. `power_cap_ratio` and `slowdown_ratio` are shares of readings with those reasons for a lower clock."""

    utilization_ratio: Level | None
    memory_used_bytes: Level | None
    power_w: Level | None
    sm_clock_mhz: Level | None
    temperature_c: Level | None
    energy_j: float | None
    power_cap_ratio: float
    slowdown_ratio: float


@dataclass(frozen=True, slots=True)
class Resources:
    """None: not sampled on this machine."""

    server_cpu_cores: Level | None
    server_rss_bytes: Level | None
    server_fds: Level | None
    server_threads: Level | None
    client_cpu_cores: Level | None  # all workers added
    client_rss_bytes: Level | None
    client_loop_lag_ns: Level | None  # of all workers
    client_loop_lag_p50_ns: float | None  # of the worker where it is largest
    client_workers: dict[str, Worker]
    machine_cpu_ratio: Level | None
    machine_memory_available_bytes: Level | None
    engine_memory_bytes: dict[str, float]  # peak, by where: cpu, gpu, pinned
    gpus: dict[str, GpuUse]
    container_memory_available_bytes: Level | None = None  # where a container bounds it

    @property
    def memory_available_min_bytes(self) -> float | None:
        """The least that either left."""
        known = [level.min for level in (self.machine_memory_available_bytes, self.container_memory_available_bytes) if level]
        return min(known, default=None)


def resources(samples: Samples, start_ns: int, end_ns: int) -> Resources:
    """What was sampled inside the window."""

    def level(name: str, label: str = "") -> Level | None:
        return Level.of(inside(samples.series(name, label), start_ns, end_ns))

    processes = workers(samples, start_ns, end_ns)
    memory = {label: level("engine_memory_bytes", label) for label in samples.labels("engine_memory_bytes")}
    return Resources(
        server_cpu_cores=level("server_cpu_cores"),
        server_rss_bytes=level("server_rss_bytes"),
        server_fds=level("server_fds"),
        server_threads=level("server_threads"),
        client_cpu_cores=level("client_cpu_cores"),
        client_rss_bytes=level("client_rss_bytes"),
        client_loop_lag_ns=_together([p.loop_lag_ns for p in processes.values() if p.loop_lag_ns]),
        client_loop_lag_p50_ns=max((p.loop_lag_p50_ns for p in processes.values() if p.loop_lag_p50_ns is not None), default=None),
        client_workers=processes,
        machine_cpu_ratio=level("machine_cpu_ratio"),
        machine_memory_available_bytes=level("machine_memory_available_bytes"),
        engine_memory_bytes={label: peak.max for label, peak in memory.items() if peak},
        container_memory_available_bytes=level("container_memory_available_bytes"),
        gpus={label: _gpu(samples, label, start_ns, end_ns) for label in _gpu_labels(samples)},
    )


def _together(levels: Sequence[Level]) -> Level | None:
    """Of processes that are read equally often."""
    if not levels:
        return None
    return Level(sum(level.mean for level in levels) / len(levels), min(x.min for x in levels), max(x.max for x in levels))


def _gpu_labels(samples: Samples) -> list[str]:
    names = ("gpu_utilization_ratio", "gpu_memory_used_bytes")
    return sorted({label for name in names for label in samples.labels(name)})


def _gpu(samples: Samples, label: str, start_ns: int, end_ns: int) -> GpuUse:
    def level(name: str) -> Level | None:
        return Level.of(inside(samples.series(name, label), start_ns, end_ns))

    reasons = inside(samples.series("gpu_throttle_reasons", label), start_ns, end_ns).astype(np.int64)
    return GpuUse(
        utilization_ratio=level("gpu_utilization_ratio"),
        memory_used_bytes=level("gpu_memory_used_bytes"),
        power_w=level("gpu_power_w"),
        sm_clock_mhz=level("gpu_sm_clock_mhz"),
        temperature_c=level("gpu_temperature_c"),
        energy_j=energy_j(samples.series("gpu_power_w", label), start_ns, end_ns),
        power_cap_ratio=float(np.mean(reasons & POWER_CAP > 0)) if len(reasons) else 0.0,
        slowdown_ratio=float(np.mean(reasons & SLOWDOWN > 0)) if len(reasons) else 0.0,
    )


def energy_j(power_w: Series, start_ns: int, end_ns: int) -> float | None:
    """Integral of power over the window (trapezoids between readings); None with fewer than two readings in it."""
    times, values = power_w
    within = (times >= start_ns) & (times <= end_ns)
    if within.sum() < 2:
        return None
    t, p = times[within], values[within]
    return float((np.diff(t) * (p[1:] + p[:-1]) / 2).sum() / NS_PER_S)
