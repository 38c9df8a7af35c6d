"""The memory ballast of `trtbench gpu lock` on GPU 0: it leaves what is asked, frees it at its end and when it is killed. Sets nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from trtbench.gpu import inventory

GIB = 1 << 30
LOCK = [sys.executable, "-m", "trtbench.cli.main", "gpu", "lock", "--device", "0", "--allow-busy"]
SHOW = [sys.executable, "-c", "from trtbench.system.cuda import ask_driver; print(ask_driver()[0].free_bytes)"]
LIMIT_S = 100.0
FREED_S = 30.0


def free_bytes() -> int:
    with inventory.session() as gpus:
        return inventory.memory_info(gpus[0].handle)["memory_free_bytes"]


def leaves(gib: float) -> str | None:
    """What is wrong with the memory that a second context finds; a context takes a part of a GiB itself."""
    command = [*LOCK, "--leave-free", f"{gib:g}", "--", *SHOW]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    found = int(done.stdout or 0) / GIB
    print(f"leave {gib:g} GiB: exit code {done.returncode}, a second context finds {found:.2f} GiB, {time.monotonic() - began:.1f} s")
    if done.returncode or abs(found - gib) > 1.0:
        return f"--leave-free {gib:g} left {found:.2f} GiB, exit code {done.returncode}: {' '.join(done.stderr[-300:].split())}"
    return None


def freed_after_a_kill(rest: int) -> str | None:
    left = max(1, rest // GIB // 8)
    holder = subprocess.Popen([*LOCK, "--leave-free", str(left)], stderr=subprocess.PIPE, text=True)
    assert holder.stderr
    while (line := holder.stderr.readline()) and " held" not in line:  # it says so when all is taken
        pass
    held = free_bytes()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    began = time.monotonic()
    while free_bytes() < rest - GIB and time.monotonic() - began < FREED_S:
        time.sleep(0.05)
    print(
        f"{held / GIB:.2f} GiB free while held; {time.monotonic() - began:.2f} s after kill -9 {free_bytes() / GIB:.2f} of {rest / GIB:.2f}"
    )
    if held > (left + 1) * GIB:
        return f"the ballast took no memory: {held / GIB:.2f} GiB were free"
    return None if free_bytes() > rest - GIB else f"the memory was not free again {FREED_S:g} s after kill -9"


def refuses_too_much() -> str | None:
    done = subprocess.run([*LOCK, "--leave-free", "9999", "--", "true"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    print(f"leave 9999 GiB: exit code {done.returncode}, {done.stderr.strip()[-200:]}")
    return None if done.returncode == 2 else "--leave-free 9999 was not refused"


def main() -> int:
    rest = free_bytes()
    if rest < 4 * GIB:
        print(f"skip: only {rest / GIB:.2f} GiB of GPU 0 are free")
        return 0
    problems = [leaves(max(1, rest // GIB // 16)), leaves(rest * 2 // 3 // GIB), freed_after_a_kill(rest), refuses_too_much()]
    wrong = [problem for problem in problems if problem]
    print("; ".join(wrong) or "the ballast leaves what is asked, and its memory comes back")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
