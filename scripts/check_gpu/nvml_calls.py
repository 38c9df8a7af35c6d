"""Every NVML call that trtbench makes on GPU 0, by itself: its value or its error, and what it costs. Writes $OUT/nvml.json.

Ends with 1 where an assumption of docs/gpu-status.md does not hold: that nvmlEventSetWait with a wait of 0 ms returns at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pynvml

from trtbench.gpu import inventory, settings
from trtbench.telemetry import nvml as sampled

REPEATS = 50
BLOCKS_S = 0.05


def answered(call: Callable[[], Any]) -> str:
    try:
        return repr(call())
    except (pynvml.NVMLError, inventory.GpuError) as error:
        return f"error {error}"


def microseconds(call: Callable[[], Any]) -> float:
    """Of one call, in the mean; of a call that fails, of the one that failed."""
    began, calls = time.perf_counter(), 0
    for _ in range(REPEATS):
        calls += 1
        try:
            call()
        except pynvml.NVMLError:
            break
    return round((time.perf_counter() - began) / calls * 1e6, 1)


def fields(handle: Any) -> dict[str, str]:
    """The counters that NVML gives by number: what it says of each, its type as trtbench reads it, and the value."""
    answers = pynvml.nvmlDeviceGetFieldValues(handle, [(field.number, field.scope) for field in sampled._FIELDS.values()])
    found = {}
    for name, answer in zip(sampled._FIELDS, answers, strict=True):
        member = sampled._MEMBERS[answer.valueType] if answer.valueType < len(sampled._MEMBERS) else "?"
        value = getattr(answer.value, member, None)
        found[f"field {name}"] = (
            f"return {answer.nvmlReturn} type {answer.valueType} ({member}) value {value} latency_us {answer.latencyUsec}"
        )
    return found


def choices(gpu: inventory.Gpu) -> dict[str, Any]:
    """What could be set, and what is: read alone."""
    memory = settings.supported_memory_clocks_mhz(gpu)
    found: dict[str, Any] = {
        "supported memory clocks": memory,
        "supported SM clocks of each": {clock: len(settings.supported_sm_clocks_mhz(gpu, clock)) for clock in memory},
        "supported SM clocks": settings.supported_sm_clocks_mhz(gpu, None)[:3],
        "power limits mW": settings.power_limits_mw(gpu),
    }
    return found | {f"read {name}": answered(partial(settings.read, gpu, name)) for name in settings.SETTINGS}


def wait_of_zero() -> tuple[float, str]:
    errors = sampled.GpuErrors()
    began = time.perf_counter()
    got = errors.read()
    took = time.perf_counter() - began
    errors.close()
    return took, f"{took * 1e3:.3f} ms, {got}"


def main() -> int:
    with inventory.session() as gpus:
        gpu = gpus[0]
        groups = (inventory._FACTS, inventory._READINGS)
        calls: dict[str, Callable[[], Any]] = {name: partial(call, gpu.handle) for group in groups for name, call in group.items()}
        sampling: dict[str, Callable[[], Any]] = {name: partial(call, gpu.handle) for name, call in sampled._CALLS.items()}
        sampling["fields"] = partial(fields, gpu.handle)
        found: dict[str, Any] = {name: answered(call) for name, call in (calls | sampling).items() if name != "fields"}
        found |= fields(gpu.handle) | choices(gpu)
        found |= {"processes": repr(inventory.processes(gpu.handle)), "MIG": repr(inventory.mig_instances(gpu))}
        found |= {"CUDA": inventory.cuda_version(), "visible": repr(inventory.cuda_devices())}
        took, found["Xid wait of 0 ms"] = wait_of_zero()
        found |= {f"us {name}": microseconds(call) for name, call in sampling.items()}
    Path(os.environ["OUT"], "nvml.json").write_text(json.dumps(found, indent=1, default=str), encoding="utf-8")
    for name, value in found.items():
        print(name, "=", value)
    absent = [name for name, value in found.items() if str(value).startswith("error")]
    print(f"absent: {', '.join(absent) or 'none'}; nvmlEventSetWait(0) {'blocks' if took > BLOCKS_S else 'returns at once'}")
    return int(took > BLOCKS_S)


if __name__ == "__main__":
    sys.exit(main())
