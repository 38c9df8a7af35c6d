"""The process of a ballast, which holds GPU memory: `python -m trtbench.gpu hold|leave BYTES`, started by `gpu/control.py`.

It allocates memory on the one GPU that CUDA_VISIBLE_DEVICES shows, reports it in one line of JSON, and holds it until standard input
closes: because it is stopped, or because its parent died. The driver frees the memory of a process however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from trtbench.system.cuda import CudaError, Device, Driver

_SLACK_BYTES = 64 << 20  # how far the memory left free may differ from what was requested: allocations are rounded


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
