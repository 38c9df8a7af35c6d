"""CPU, memory and GPU use during a stage, from samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stage.workers import Worker, workers
from trtbench.analysis.stats.window import Level, increase, inside
from trtbench.rundir.event_kinds import IF_KNOWN
from trtbench.rundir.samples import Samples, Series
from trtbench.rundir.series import SeriesName


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several servers during a stage; a field is None if it was not read. `requests` counts the successes in the server's own
    statistics.
    """

    requests: int | None
    cpu_cores: Level | None
    rss_bytes: Level | None


def replicas(samples: Samples, start_ns: int, end_ns: int) -> tuple[Replica, ...]:
    """Figures of each server, in the order of the servers; () for a deployment of one server."""
    names: tuple[SeriesName, ...] = ("replica_cpu_cores", "replica_rss_bytes")
    labels = samples.labels("replica_success_count", "replica_rss_bytes")

    def one(label: str) -> Replica:
        requests = increase(samples.series("replica_success_count", label), start_ns, end_ns)
        cpu, rss = (inside(samples.series(name, label), start_ns, end_ns) for name in names)
        return Replica(None if requests is None else round(requests), Level.of(cpu), Level.of(rss))

    return tuple(one(label) for label in sorted(labels, key=int))


def imbalance(found: Sequence[Replica]) -> float | None:
    """Requests of the busiest of n servers divided by an equal share: 1 means balanced, n means all requests on one server. None if a
    server's requests are unknown.
    """
    counts = [replica.requests for replica in found if replica.requests is not None]
    if len(counts) < max(2, len(found)) or not sum(counts):
        return None
    return max(counts) * len(counts) / sum(counts)


NS_PER_S = 1_000_000_000

THROTTLES = {"power_cap": 0x4, "hw_slowdown": 0x8, "sw_thermal": 0x20, "hw_thermal": 0x40, "power_brake": 0x80}
"""Bits of NVML's clocks-event reasons (nvml.h) that mean a clock was lowered below the requested one."""
_EXPLAINED = 0x40 | 0x80  # a hardware slowdown with one of these says no more than they do


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One GPU during a stage. `throttle_ratios` is the share of readings with each reason of THROTTLES for a lower clock; reasons that
    never occurred are left out.

    `energy_j` comes from the GPU's own counter if it has one, otherwise it is the integral of the sampled power.
    """

    utilization_ratio: Level | None
    memory_used_bytes: Level | None
    power_w: Level | None
    sm_clock_mhz: Level | None
    temperature_c: Level | None
    energy_j: float | None
    throttle_ratios: dict[str, float]
    memory_temperature_c: Level | None = None
    server_memory_bytes: Level | None = None
    pcie_rx_bytes_per_s: float | None = None
    pcie_tx_bytes_per_s: float | None = None
    nvlink_rx_bytes_per_s: float | None = None
    nvlink_tx_bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class MigUse:
    """One MIG instance, whose `memory_bytes` limit what runs on it. All other figures of the GPU are of the whole GPU."""

    memory_used_bytes: Level
    memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class Resources:
    """Use of the machine during a stage. A field is None if this machine has no samples of it."""

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
    balancer_cpu_cores: Level | None = None
    balancer_rss_bytes: Level | None = None
    mig_instances: dict[str, MigUse] = field(default_factory=dict)  # by UUID: every visible one, used by the run or not
    replicas: tuple[Replica, ...] = ()  # in their order, where there are several servers
    server_major_faults_per_s: float | None = field(default=None, metadata=IF_KNOWN)  # pages that the server had to wait for
    swapped_in_pages_per_s: float | None = field(default=None, metadata=IF_KNOWN)  # by the whole machine

    @property
    def memory_available_min_bytes(self) -> float | None:
        """The lowest available memory of the machine or of the container, whichever is less."""
        known = [level.min for level in (self.machine_memory_available_bytes, self.container_memory_available_bytes) if level]
        return min(known, default=None)


def resources(samples: Samples, start_ns: int, end_ns: int) -> Resources:
    """Resource use from the samples inside the window."""

    def level(name: SeriesName, label: str = "") -> Level | None:
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
        gpus={label: _gpu(samples, label, start_ns, end_ns) for label in samples.labels("gpu_utilization_ratio", "gpu_memory_used_bytes")},
        mig_instances=_mig_instances(samples, start_ns, end_ns),
        balancer_cpu_cores=level("balancer_cpu_cores"),
        balancer_rss_bytes=level("balancer_rss_bytes"),
        replicas=replicas(samples, start_ns, end_ns),
        server_major_faults_per_s=counter_rate(samples.series("server_major_faults"), start_ns, end_ns),
        swapped_in_pages_per_s=counter_rate(samples.series("machine_swapped_in_pages"), start_ns, end_ns),
    )


def _together(levels: Sequence[Level]) -> Level | None:
    """The sum over processes that are read equally often."""
    if not levels:
        return None
    return Level(sum(level.mean for level in levels) / len(levels), min(x.min for x in levels), max(x.max for x in levels))


def _mig_instances(samples: Samples, start_ns: int, end_ns: int) -> dict[str, MigUse]:
    found: dict[str, MigUse] = {}
    names: tuple[SeriesName, ...] = ("mig_memory_used_bytes", "mig_memory_bytes")
    for uuid in samples.labels("mig_memory_used_bytes"):
        used, total = (Level.of(inside(samples.series(name, uuid), start_ns, end_ns)) for name in names)
        if used:
            found[uuid] = MigUse(used, total.max if total else None)
    return found


def _gpu(samples: Samples, label: str, start_ns: int, end_ns: int) -> GpuUse:
    def level(name: SeriesName) -> Level | None:
        return Level.of(inside(samples.series(name, label), start_ns, end_ns))

    def rate(counter: SeriesName, driver_rate: SeriesName | None = None) -> float | None:
        """The rate of the counter; without a counter, the mean of the rates that the driver reports."""
        counted = counter_rate(samples.series(counter, label), start_ns, end_ns)
        given = level(driver_rate) if driver_rate else None
        return given.mean if counted is None and given else counted

    gained_j = gained(samples.series("gpu_energy_j", label), start_ns, end_ns)
    reasons = inside(samples.series("gpu_throttle_reasons", label), start_ns, end_ns).astype(np.int64)
    return GpuUse(
        utilization_ratio=level("gpu_utilization_ratio"),
        memory_used_bytes=level("gpu_memory_used_bytes"),
        power_w=level("gpu_power_w"),
        sm_clock_mhz=level("gpu_sm_clock_mhz"),
        temperature_c=level("gpu_temperature_c"),
        energy_j=energy_j(samples.series("gpu_power_w", label), start_ns, end_ns) if gained_j is None else gained_j,
        throttle_ratios=_throttle_ratios(reasons),
        memory_temperature_c=level("gpu_memory_temperature_c"),
        server_memory_bytes=level("server_gpu_memory_bytes"),
        pcie_rx_bytes_per_s=rate("gpu_pcie_rx_bytes", "gpu_pcie_rx_bytes_per_s"),
        pcie_tx_bytes_per_s=rate("gpu_pcie_tx_bytes", "gpu_pcie_tx_bytes_per_s"),
        nvlink_rx_bytes_per_s=rate("gpu_nvlink_rx_bytes"),
        nvlink_tx_bytes_per_s=rate("gpu_nvlink_tx_bytes"),
    )


def _throttle_ratios(reasons: npt.NDArray[np.int64]) -> dict[str, float]:
    if not len(reasons):
        return {}
    unexplained = np.where(reasons & _EXPLAINED > 0, reasons & ~THROTTLES["hw_slowdown"], reasons)
    ratios = {name: float(np.mean(unexplained & bit > 0)) for name, bit in THROTTLES.items()}
    return {name: ratio for name, ratio in ratios.items() if ratio}


def gained(counter: Series, start_ns: int, end_ns: int) -> float | None:
    """The increase of a counter over the window, interpolated between the readings around its borders.

    None if the readings do not cover the window, or if the counter was reset.
    """
    times, values = counter
    if len(times) < 2 or times[0] > start_ns or times[-1] < end_ns:
        return None
    first = np.searchsorted(times, start_ns, side="right") - 1
    last = np.searchsorted(times, end_ns, side="left")
    if (np.diff(values[first : last + 1]) < 0).any():
        return None
    at_start, at_end = np.interp([start_ns, end_ns], times, values)
    return float(at_end - at_start)


def counter_rate(counter: Series, start_ns: int, end_ns: int) -> float | None:
    """The rate per second between the first and the last reading inside the window; None with fewer than two readings, or if the counter
    was reset.
    """
    times, values = counter
    within = (times >= start_ns) & (times <= end_ns)
    if within.sum() < 2 or (np.diff(values[within]) < 0).any():
        return None
    t, v = times[within], values[within]
    return float((v[-1] - v[0]) * NS_PER_S / (t[-1] - t[0]))


def energy_j(power_w: Series, start_ns: int, end_ns: int) -> float | None:
    """Integral of power over the window (trapezoids between readings); None with fewer than two readings in the window."""
    times, values = power_w
    within = (times >= start_ns) & (times <= end_ns)
    if within.sum() < 2:
        return None
    t, p = times[within], values[within]
    return float((np.diff(t) * (p[1:] + p[:-1]) / 2).sum() / NS_PER_S)
