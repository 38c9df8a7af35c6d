"""The actions and the output of the commands of `trtbench gpu`."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from trtbench.cli.console import gpu_line
from trtbench.errors import UserError
from trtbench.gpu.control import check_gpus, held, restore_left
from trtbench.gpu.journal import state_directory
from trtbench.gpu.lock import Tell
from trtbench.gpu.status import status
from trtbench.rundir.event_kinds import EventData
from trtbench.rundir.gpu_events import GpuNotRestored
from trtbench.scenario.deployment.gpu_settings import GpuControl
from trtbench.scenario.reading import parse_part
from trtbench.system.interrupts import Terminated, signals_end_in_their_codes

_GIB = 1 << 30
_MOST_DIGITS = 18
_NONE = "-"
_MODES = ("persistence_mode", "compute_mode", "ecc", "mig")


def status_command(as_json: bool) -> None:
    found = status(state_directory())
    if as_json:
        print(json.dumps(found, indent=2))
        return
    out = RichConsole(highlight=False, width=None if sys.stdout.isatty() else 160)
    out.print(f"{found['driver']}, CUDA up to {found['cuda'] or _NONE}")
    out.print(_table(found["gpus"]))
    for gpu in found["gpus"]:
        for line in _lines(gpu):
            out.print(line, markup=False, soft_wrap=True)
    for journal in found["journals_of_absent_gpus"]:
        out.print(
            f"{journal['name']} ({journal['uuid']}) is not in this machine; its settings were held by process {journal['owner']['pid']}",
            markup=False,
        )


def _table(gpus: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        "GPU",
        "name",
        "SM MHz",
        "memory MHz",
        "W / limit",
        "°C",
        "GiB used / all",
        "in use",
        "throttled by",
        "persistence",
        "compute",
        "ECC",
        "MIG",
        "ECC errors",
    )
    for gpu in gpus:
        table.add_row(
            str(gpu["index"]),
            str(gpu.get("name", _NONE)),
            _of_all(gpu, "sm_clock_mhz", "sm_clock_max_mhz", "{:g}"),
            _of_all(gpu, "memory_clock_mhz", "memory_clock_max_mhz", "{:g}"),
            _of_all(gpu, "power_w", "power_limit_w", "{:.0f}"),
            str(gpu.get("temperature_c", _NONE)),
            _of_all(gpu, "memory_used_bytes", "memory_bytes", "{:.1f}", _GIB),
            _NONE if "utilization_ratio" not in gpu else f"{gpu['utilization_ratio']:.0%}",
            _NONE if "throttle_reasons" not in gpu else ", ".join(gpu["throttle_reasons"]) or "nothing",
            *(_mode(gpu.get(mode)) for mode in _MODES),
            str(gpu.get("ecc_uncorrected", _NONE)),
        )
    return table


def _of_all(gpu: dict[str, Any], now: str, most: str, form: str, unit: float = 1) -> str:
    return " / ".join(form.format(gpu[key] / unit) if key in gpu else _NONE for key in (now, most))


def _mode(value: Any) -> str:
    return {True: "on", False: "off", None: _NONE}.get(value, str(value))


def _lines(gpu: dict[str, Any]) -> Iterator[str]:
    label = f"GPU {gpu['index']}"
    yield f"{label} {gpu.get('uuid', '')}"
    for instance in gpu["mig_instances"]:
        memory = _of_all(instance, "memory_used_bytes", "memory_bytes", "{:.1f}", _GIB)
        yield f"{label} instance {instance['uuid']}: {memory} GiB; clocks and power are the whole GPU's, utilization is not reported"
    for where, processes in [(label, gpu["processes"]), *((one["uuid"], one["processes"]) for one in gpu["mig_instances"])]:
        for one in processes or ():
            memory = _NONE if one["memory_bytes"] is None else f"{one['memory_bytes'] / _GIB:.1f} GiB"
            yield f"{where}: process {one['pid']} ({one['name'] or 'of another container or the host'}) {memory}"
    if journal := gpu["held"]:
        settings = ", ".join(f"{one['kind']} {one['asked']} (before: {_before(one['previous'])})" for one in journal["held"])
        owner = journal["owner"]
        state = "runs" if journal["owner_lives"] else "is gone: `trtbench gpu restore` puts it back"
        yield f"{label} held: {settings}; by process {owner['pid']} ({owner['command']}), which {state}"


def _before(value: Any) -> str:
    return "not known, the default" if value is None else str(value)


def lock_command(command: tuple[str, ...], **flags: Any) -> int:
    """The exit code: that of the command, or 128 + the signal that ended the wait; 1 in place of 0 if a GPU could not be restored."""
    asked = _asked(**flags)
    if command and shutil.which(command[0]) is None:
        raise UserError(f"COMMAND {command[0]}: there is no such program; give a program on PATH, or its path")
    check_gpus(asked)
    failed: list[str] = []
    code = _held(asked, command, failed)
    return code or int(bool(failed))


def _held(asked: GpuControl, command: tuple[str, ...], failed: list[str]) -> int:
    tell = _teller(failed)
    with signals_end_in_their_codes() as ending, held(asked, tell) as gpus:
        asyncio.run(gpus.before_stage(tell, "lock", lambda: False))
        if not command:
            print("held until Ctrl-C", file=sys.stderr, flush=True)
            while True:
                signal.pause()
        ending.code = _run(command)
    return ending.code


def _asked(devices: tuple[str, ...], allow_busy: bool, cool_down: int | None, **flags: Any) -> GpuControl:
    keys = {
        "devices": [_number(name) for name in devices] or None,
        "sm_clock_mhz": _number(flags["sm_clock"]),
        "memory_clock_mhz": _number(flags["memory_clock"]),
        "power_limit_w": flags["power_limit"],
        "persistence_mode": flags["persistence"],
        "compute_mode": flags["compute_mode"],
        "memory_ballast_gib": flags["ballast"],
        "memory_leave_free_gib": flags["leave_free"],
        "cool_down": None if cool_down is None else {"temperature_c": cool_down},
        "require_idle": not allow_busy,
    }
    return parse_part(GpuControl, keys, "gpu lock")


def _number(text: str | None) -> int | str | None:
    """Text that is not a number in ASCII digits remains a name, which the bounds then refuse."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else text


def _run(command: tuple[str, ...]) -> int:
    """Runs the command and returns its exit code. Ctrl-C reaches the command directly, so trtbench leaves it to the command to end."""
    with subprocess.Popen(command) as process:
        while True:
            try:
                code = process.wait()
            except Terminated:
                process.terminate()
                continue
            except KeyboardInterrupt:
                continue
            return 128 - code if code < 0 else code


def restore_command() -> int:
    """The exit code: 1 if a setting could not be restored, or if a running process holds it."""
    failed: list[str] = []
    living = restore_left(_teller(failed))
    for journal in living:
        print(f"GPU {journal.index} is held by {journal.owner}, which runs: stop it, and it puts the GPU back", file=sys.stderr)
    return int(bool(living or failed))


def _teller(failed: list[str]) -> Tell:
    """Prints each event; those of a GPU that could not be restored are added to `failed`."""

    def tell(data: EventData) -> None:
        if isinstance(data, GpuNotRestored):
            failed.append(data.cause)
        print(gpu_line(data), file=sys.stderr, flush=True)

    return tell
