"""The sampler's own process over GPU 0: every series, and under a load by torch utilisation, power and energy, PCIe and bytes copied.

SECONDS_OF_LOAD bounds the matrix products. Without torch with CUDA the series alone are looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from trtbench.rundir.lines import Losses
from trtbench.rundir.samples import Samples, Series, read_unsealed_samples
from trtbench.rundir.series import SeriesName
from trtbench.telemetry.sampler import Sampler
from trtbench.telemetry.sources import SampledServer, SamplerConfig

SECONDS = float(os.environ.get("SECONDS_OF_LOAD", "15"))
COPIED_BYTES = 16 << 30
SETTLED_NS = 2_000_000_000
SERIES: tuple[SeriesName, ...] = (
    *("gpu_utilization_ratio", "gpu_power_w", "gpu_memory_used_bytes"),
    *("gpu_sm_clock_mhz", "gpu_temperature_c", "gpu_throttle_reasons"),
)
LOAD = f"""
import sys, time, torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16); b = torch.randn_like(a); torch.cuda.synchronize()
print("ready", flush=True); sys.stdin.readline(); end = time.monotonic() + {SECONDS}
while time.monotonic() < end:
    for _ in range(20): a @ b
    torch.cuda.synchronize()
print("computed", flush=True)
host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True); device = torch.empty_like(host, device="cuda"); sys.stdin.readline()
for _ in range({COPIED_BYTES >> 30}): device.copy_(host); host.copy_(device)
torch.cuda.synchronize(); print("copied", flush=True); sys.stdin.readline()
"""


class Load:
    """A process that computes, then copies both ways; `marks` are the instants of its steps, ns of the monotonic clock."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.process = subprocess.Popen([sys.executable, "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.until("ready")

    def until(self, word: str) -> None:
        assert self.process.stdout
        got = self.process.stdout.readline().strip()
        if got != word:
            raise SystemExit(f"the load ended before it was {word}; its message is above")
        self.marks[word] = time.monotonic_ns()

    def go(self, name: str) -> None:
        assert self.process.stdin
        self.marks[name] = time.monotonic_ns()
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def has_cuda_torch() -> bool:
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def sample(load: Load | None, path: Path) -> Samples:
    server = SampledServer("127.0.0.1:1", None, load.process.pid if load else os.getpid())
    with Sampler(SamplerConfig((server,), "none", os.getpid(), 100_000_000, True), path) as sampler:
        sampler.wait_ready()
        time.sleep(min(2.0, SECONDS))
        if load:
            load.go("go")
            load.until("computed")
            time.sleep(2.5)
            load.go("copy")
            load.until("copied")
            time.sleep(2.5)
            load.go("end")
            load.process.wait()
    for name, tally in sampler.tallies.items():
        print(f"{name}: {tally.readings} readings, {tally.failures} failed, {tally.skipped} skipped; {tally.last_error or tally.note}")
    return read_unsealed_samples(path, Losses(path.parent))


def of_load(samples: Samples, name: SeriesName, marks: dict[str, int], label: str = "0") -> Series:
    times, values = samples.series(name, label)
    within = (times >= marks["go"] + SETTLED_NS) & (times <= marks["computed"])
    return times[within], values[within]


def under_load(samples: Samples, marks: dict[str, int]) -> dict[str, bool]:
    """What must hold, by the sentence that says it with its figures. A counter that this GPU lacks is left out."""
    found: dict[str, bool] = {}
    _, ratio = of_load(samples, "gpu_utilization_ratio", marks)
    _, watts = of_load(samples, "gpu_power_w", marks)
    found[f"utilisation {ratio.mean():.3f} under matrix products"] = bool(ratio.mean() > 0.9)
    times, joules = of_load(samples, "gpu_energy_j", marks)
    if len(joules) > 2 and len(watts):
        power = (joules[-1] - joules[0]) / ((times[-1] - times[0]) / 1e9)
        found[f"energy counter gives {power:.0f} W, the power reading {watts.mean():.0f} W"] = bool(abs(power / watts.mean() - 1) < 0.1)
    counters: tuple[SeriesName, ...] = ("gpu_pcie_rx_bytes", "gpu_pcie_tx_bytes")
    for name in counters:
        at, values = samples.series(name, "0")
        counted = values[(at >= marks["copy"] - 500_000_000) & (at <= marks["end"])]
        if len(counted) > 1:
            ratio_of = (counted[-1] - counted[0]) / COPIED_BYTES
            found[f"{name} counted {ratio_of:.3f} of the bytes copied"] = 0.8 < ratio_of < 1.4
    return found


def main() -> int:
    path = Path(os.environ["OUT"]) / "samples.jsonl"
    path.unlink(missing_ok=True)
    load = Load() if has_cuda_torch() else None
    samples = sample(load, path)
    held = {f"series {name}": len(samples.series(name, "0")[1]) > 0 for name in SERIES}
    if load:
        held |= under_load(samples, load.marks)
    for sentence, holds in held.items():
        print("ok   " if holds else "WRONG", sentence)
    wrong = [sentence for sentence, holds in held.items() if not holds]
    print("throttle reasons", sorted({int(value) for value in samples.series("gpu_throttle_reasons", "0")[1]}))
    note = "" if load else " (no torch with CUDA here: nothing was computed)"
    print(f"wrong: {'; '.join(wrong)}" if wrong else f"every series is there{', and agrees with the load' if load else note}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
