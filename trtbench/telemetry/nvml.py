"""Samples of NVIDIA GPUs through NVML. `Gpus` is read at every tick, `GpuUsers` and `GpuErrors` once a second.

Every series of each GPU is requested once at the start. A series that the GPU does not have is not requested again, and `note`
names it ("GPU 1: gpu_power_w, gpu_energy_j").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import pynvml

from trtbench.gpu.inventory import Gpu, mig_instances, processes, session
from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.system.clock import now_ns

_KIB = 1024
_ALL_LINKS = 0xFFFFFFFF  # the scope that adds up a GPU's NVLinks

_CALLS: dict[SeriesName, Callable[[Any], float]] = {
    "gpu_utilization_ratio": lambda gpu: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,  # %: time with a kernel running
    "gpu_memory_used_bytes": lambda gpu: pynvml.nvmlDeviceGetMemoryInfo(gpu).used,  # includes the driver's own share: total - free
    "gpu_power_w": lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,  # mW
    "gpu_sm_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "gpu_memory_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "gpu_temperature_c": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
    # The name from before driver 535, which newer drivers still answer to.
    "gpu_throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
}


@dataclass(frozen=True)
class _Field:
    """A field of nvmlDeviceGetFieldValues, which answers many in one call; the sample is the field's value times `unit`."""

    number: int
    unit: float = 1.0
    scope: int = 0


_FIELDS: dict[SeriesName, _Field] = {
    "gpu_memory_temperature_c": _Field(pynvml.NVML_FI_DEV_MEMORY_TEMP),
    "gpu_energy_j": _Field(pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, 1e-3),  # mJ since the driver was loaded
    "gpu_pcie_tx_bytes": _Field(pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES),
    "gpu_pcie_rx_bytes": _Field(pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES),
    "gpu_nvlink_tx_bytes": _Field(pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, _KIB, _ALL_LINKS),  # counters, for all their name
    "gpu_nvlink_rx_bytes": _Field(pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, _KIB, _ALL_LINKS),
}
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")  # of nvmlValue_t, by nvmlValueType_t

_PCIE_RATES: dict[SeriesName, int] = {
    "gpu_pcie_tx_bytes_per_s": pynvml.NVML_PCIE_UTIL_TX_BYTES,
    "gpu_pcie_rx_bytes_per_s": pynvml.NVML_PCIE_UTIL_RX_BYTES,
}
"""Used where a GPU has no counters. The driver counts for 20 ms in each call, so they are not read at every tick."""


class Gpus:
    """Source of the `gpu_*` series, of every GPU that NVML shows; GpuError when there is no NVML."""

    def __init__(self) -> None:
        self._session = session()
        gpus = self._session.__enter__()
        self._calls = {gpu: dict(_CALLS) for gpu in gpus}
        self._fields = {gpu: dict(_FIELDS) for gpu in gpus}
        self.note = "; ".join(filter(None, map(self._leave_out, gpus)))

    def read(self) -> list[Sample]:
        """One reading. A call that fails now is left out of it; a lost GPU gives `gpu_lost` once and no samples after that."""
        samples: list[Sample] = []
        for gpu in list(self._calls):
            try:
                samples += self._of(gpu)
            except pynvml.NVMLError_GpuIsLost:
                del self._calls[gpu]
                samples.append(Sample(now_ns(), "gpu_lost", str(gpu.index), 1.0))
        return samples

    def close(self) -> None:
        self._session.__exit__(None, None, None)

    def _leave_out(self, gpu: Gpu) -> str:
        calls, fields = self._calls[gpu], self._fields[gpu]
        absent = [name for name, call in calls.items() if _is_absent(partial(call, gpu.handle))]
        there = dict(_field_values(gpu.handle, fields))
        absent += [name for name in fields if name not in there]
        for name in absent:
            calls.pop(name, None)
            fields.pop(name, None)
        return f"GPU {gpu.index}{' (MIG)' if gpu.mig else ''}: {', '.join(absent)}" if absent else ""

    def _of(self, gpu: Gpu) -> Iterator[Sample]:
        label = str(gpu.index)
        for name, call in self._calls[gpu].items():
            try:
                yield Sample(now_ns(), name, label, float(call(gpu.handle)))
            except pynvml.NVMLError_GpuIsLost:
                raise
            except pynvml.NVMLError:
                continue
        time_ns = now_ns()
        for name, value in _field_values(gpu.handle, self._fields[gpu]):
            yield Sample(time_ns, name, label, value)


def _is_absent(call: Callable[[], object]) -> bool:
    """Whether the GPU will never have this value; other failures may be temporary."""
    try:
        call()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NoPermission):
        return True
    except pynvml.NVMLError:
        return False
    return False


def _field_values(handle: Any, fields: Mapping[SeriesName, _Field]) -> Iterator[tuple[SeriesName, float]]:
    """The fields that the driver answers; a driver that is too old answers none."""
    if not fields:
        return
    try:
        answers = pynvml.nvmlDeviceGetFieldValues(handle, [(field.number, field.scope) for field in fields.values()])
    except pynvml.NVMLError_GpuIsLost:
        raise
    except pynvml.NVMLError:
        return
    for (name, field), answer in zip(fields.items(), answers, strict=True):
        if answer.nvmlReturn == pynvml.NVML_SUCCESS and answer.valueType < len(_MEMBERS):
            yield name, float(getattr(answer.value, _MEMBERS[answer.valueType])) * field.unit


class GpuUsers:
    """Source of the series that take the driver longer: memory by process, other processes, MIG memory, ECC errors, PCIe rates.

    The driver reports processes by the host's pids. In a container with its own pids they cannot be identified, and the series of
    processes are left out.
    """

    def __init__(self, server_pids: Collection[int], client_pid: int) -> None:
        self._session = session()
        self._gpus = self._session.__enter__()
        self._server_pids, self._client_pid = server_pids, client_pid
        self._instances = {gpu: mig_instances(gpu) for gpu in self._gpus}
        self._rates = {gpu: {} if _counts_pcie(gpu) else dict(_PCIE_RATES) for gpu in self._gpus}
        self.note = ""

    def read(self) -> list[Sample]:
        return [sample for gpu in self._gpus for sample in self._of(gpu)]

    def close(self) -> None:
        self._session.__exit__(None, None, None)

    def _of(self, gpu: Gpu) -> Iterator[Sample]:
        label = str(gpu.index)
        yield from self._processes(gpu)
        for instance in self._instances[gpu]:
            used = _supported(pynvml.nvmlDeviceGetMemoryInfo, instance.handle)
            if used is not None:
                yield Sample(now_ns(), "mig_memory_used_bytes", instance.uuid, float(used.used))
                yield Sample(now_ns(), "mig_memory_bytes", instance.uuid, float(used.total))
        counted = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
        errors = _supported(pynvml.nvmlDeviceGetTotalEccErrors, gpu.handle, *counted)
        if errors is not None:
            yield Sample(now_ns(), "gpu_ecc_uncorrected", label, float(errors))
        for name, counter in self._rates[gpu].items():
            rate = _supported(pynvml.nvmlDeviceGetPcieThroughput, gpu.handle, counter)
            if rate is not None:
                yield Sample(now_ns(), name, label, float(rate) * 1000)  # KB/s

    def _processes(self, gpu: Gpu) -> Iterator[Sample]:
        places = [instance.handle for instance in self._instances[gpu]] or [gpu.handle]
        listed = [processes(handle) for handle in places]
        users = [one for found in listed for one in found or ()]
        if None in listed or not all(psutil.pid_exists(one.pid) for one in users):
            return
        label, time_ns = str(gpu.index), now_ns()
        own = {one.pid for one in users if is_under(one.pid, {self._client_pid, os.getpid()})}
        yield Sample(time_ns, "gpu_other_processes", label, float(len({one.pid for one in users} - own)))
        if self._server_pids:
            held = [one.memory_bytes for one in users if is_under(one.pid, self._server_pids)]
            if None not in held:
                yield Sample(time_ns, "server_gpu_memory_bytes", label, float(sum(size or 0 for size in held)))


def is_under(pid: int, roots: Collection[int]) -> bool:
    """Whether a process is one of `roots` or descends from one."""
    try:
        while pid not in roots:
            if pid <= 1:
                return False
            pid = psutil.Process(pid).ppid()
    except psutil.Error:
        return False
    return True


def _counts_pcie(gpu: Gpu) -> bool:
    names: tuple[SeriesName, ...] = ("gpu_pcie_tx_bytes", "gpu_pcie_rx_bytes")
    return len(dict(_field_values(gpu.handle, {name: _FIELDS[name] for name in names}))) == len(names)


def _supported(ask: Callable[..., Any], *arguments: Any) -> Any | None:
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


class GpuErrors:
    """Source of `gpu_xid`: the driver's error numbers (XID), one sample for each. NVMLError when no GPU reports them."""

    def __init__(self) -> None:
        self._session = session()
        gpus = self._session.__enter__()
        self._events = pynvml.nvmlEventSetCreate()
        silent = [gpu for gpu in gpus if not self._watch(gpu)]
        if len(silent) == len(gpus):
            self.close()
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.note = "; ".join(f"GPU {gpu.index}: gpu_xid" for gpu in silent)

    def read(self) -> list[Sample]:
        """Errors since the last reading. NVMLError when there are none and no more can come: the last XID of a lost GPU is its cause."""
        samples: list[Sample] = []
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError as error:
                if samples or isinstance(error, pynvml.NVMLError_Timeout):
                    return samples
                raise
            label = str(pynvml.nvmlDeviceGetIndex(event.device))
            samples.append(Sample(now_ns(), "gpu_xid", label, float(event.eventData)))

    def close(self) -> None:
        pynvml.nvmlEventSetFree(self._events)
        self._session.__exit__(None, None, None)

    def _watch(self, gpu: Gpu) -> bool:
        try:
            pynvml.nvmlDeviceRegisterEvents(gpu.handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
        except pynvml.NVMLError:
            return False
        return True
