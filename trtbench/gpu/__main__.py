"""The ballast's own process: `python -m trtbench.gpu hold|leave BYTES`, started by `gpu/control.py`.

Takes memory on the one GPU that CUDA_VISIBLE_DEVICES shows it, says so in one line of JSON, and holds it until stdin closes: a stop,
or its parent's death by any signal. Memory that a process held is the driver's again when the process is gone, kill -9 too.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from trtbench.system.cuda import CudaError, Device, Driver

_SLACK_BYTES = 64 << 20  # of what is asked to be left free: allocations are rounded


def main(how: str, size_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        device = Device(Driver())
        free, total = device.memory_bytes()
        wanted = size_bytes if how == "hold" else max(0, free - size_bytes)
        held = device.hold(wanted) if wanted <= free else 0
        left, _ = device.memory_bytes()
    except CudaError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)
    short = held < wanted or (how == "leave" and abs(left - size_bytes) > _SLACK_BYTES)
    print(json.dumps({"held_bytes": held, "free_bytes": left, "total_bytes": total, "free_before_bytes": free, "short": short}), flush=True)
    if not short:
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
