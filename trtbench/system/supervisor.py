"""Runs one command and ends it when trtbench ends: `python supervisor.py GRACE_S SHM_PREFIX COMMAND...`.

Standard input is a pipe that trtbench holds open and never writes. When it closes (a stop, or the death of trtbench by any signal),
the command gets SIGTERM, and after the grace period its process group gets SIGKILL. Processes of the command that left the group are
killed too (mpirun gives each rank its own group). Then the command's shared memory is removed.
The file imports only the standard library, because it has to start at once and in every environment.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(grace_s: float, shm_prefix: str, command: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole foreground group; trtbench decides what it ends
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of the command become children of this process, so none is lost
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # the server has a connection for every stream
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_default_signals)
    pidfd = os.pidfd_open(server.pid)
    try:
        readable, _, _ = select.select([pidfd, sys.stdin], [], [])
        if pidfd not in readable:
            server.terminate()
            select.select([pidfd], [], [], grace_s)
    finally:
        returncode = _end(server)
        for segment in Path("/dev/shm").glob(f"{shm_prefix}*") if shm_prefix else ():  # noqa: S108
            segment.unlink(missing_ok=True)
    return 128 - returncode if returncode < 0 else returncode


def _default_signals() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the supervisor itself be killed
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(server: "subprocess.Popen[bytes]") -> int:
    """Kill what is left of the server, including its Python stubs and MPI ranks, and return its exit code."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    returncode = server.wait()
    while orphans := _children():  # the children of a killed one become children of this process
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return returncode


def _children() -> "list[int]":
    """The children of this process, found by reading every process's parent: not every kernel has /proc/PID/task/TID/children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_bytes().rpartition(b")")[2].split()  # the name, in brackets, may contain brackets and blanks
            if int(fields[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3:]))
