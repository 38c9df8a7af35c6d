"""What a killed process leaves is removed by the next command, and nothing of a process that lives."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trtbench.system.leftovers import SHARED_MEMORY, owner, sweep_directory

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

OWNING = """
import os, sys, time
from pathlib import Path
from trtbench.system.supervised import Supervised
from trtbench.system.leftovers import SHARED_MEMORY, own_path, shared_memory_prefix, temporary_directory
directory = temporary_directory()
(Path(directory.name) / "file").touch()
prefix = shared_memory_prefix("1")
(SHARED_MEMORY / f"{prefix}region").touch()
(SHARED_MEMORY / "trtbench_of_nobody").touch()
server = Supervised(["sh", "-c", "trap '' TERM; setsid sleep 300 & wait"], Path(sys.argv[1]), os.environ, "")
while os.read(0, 1):
    print(server.pid, flush=True)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@pytest.fixture
def owning(temporary: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a temporary directory, shared memory, and a server that does not end when it is asked to."""
    command = [sys.executable, "-c", OWNING, str(tmp_path / "server.log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process
        process.kill()
    (SHARED_MEMORY / "trtbench_of_nobody").unlink()


def supervisor_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    assert process.stdin and process.stdout
    process.stdin.write(b"?")
    return psutil.Process(int(process.stdout.readline()))


def next_command(arguments: tuple[str, ...] = ("schema",)) -> None:
    done = subprocess.run([sys.executable, "-m", "trtbench", *arguments], capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr


def regions(pid: int) -> list[Path]:
    return list(SHARED_MEMORY.glob(f"trtbench_*-{pid}-*"))


def test_what_a_killed_process_left_is_removed_by_the_next_command(owning: subprocess.Popen[bytes], temporary: Path) -> None:
    supervisor = supervisor_of(owning)
    server = supervisor.children(recursive=True)
    next_command()
    assert len(list(temporary.iterdir())) == len(regions(owning.pid)) == 1  # its owner lives
    supervisor.suspend()  # it cannot do its work
    owning.kill()
    owning.wait()
    supervisor.send_signal(signal.SIGKILL)
    next_command()
    assert not list(temporary.iterdir())
    assert not regions(owning.pid)
    assert psutil.wait_procs([supervisor, *server], timeout=20)[1] == []
    assert (SHARED_MEMORY / "trtbench_of_nobody").exists()


def test_a_server_is_given_the_time_that_its_guard_gives_it(owning: subprocess.Popen[bytes], temporary: Path) -> None:
    supervisor = supervisor_of(owning)
    server = supervisor.children(recursive=True)
    owning.kill()
    owning.wait()
    next_command()
    assert not list(temporary.iterdir())
    assert psutil.wait_procs([supervisor, *server], timeout=5)[1] == []


def test_what_may_belong_to_the_living_stays(tmp_path: Path) -> None:
    machine, pid, start = owner().split("-")
    other_machine = "0" * 8 if machine != "0" * 8 else "1" * 8
    kept = [f"trtbench-{machine}-{pid}-{start}-a", f"trtbench-{other_machine}-{pid}-1-a", "trtbench-serve-a", f".building-{pid}-engine"]
    gone = [f"trtbench-{machine}-{pid}-1-a", f".making-{machine}-{pid}-1-a", f".building-{machine}-{pid}-1-engine"]
    for name in kept + gone:
        (tmp_path / name).mkdir()
    sweep_directory(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
