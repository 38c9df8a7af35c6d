"""Bounds of memory, told from made-up trees of control groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from trtbench.system.memory import MemoryBound, OomKills, memory_bounds, oom_kills, tightest_bound

GIB = 1 << 30
MACHINE = MemoryBound("machine", 64 * GIB, 32 * GIB)


@dataclass
class Kernel:
    """A fake /proc and /sys/fs/cgroup."""

    root: Path

    def __post_init__(self) -> None:
        (self.root / "proc/self").mkdir(parents=True)
        (self.root / "cgroup").mkdir()

    def write(self, path: str, text: object) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(f"{text}\n")

    def group(self, path: str, **files: object) -> None:
        for name, text in files.items():
            self.write(f"cgroup/{path}/memory.{name}", text)

    @property
    def places(self) -> tuple[Path, Path]:
        return self.root / "proc", self.root / "cgroup"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    machine = SimpleNamespace(total=MACHINE.limit_bytes, available=MACHINE.available_bytes)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    return Kernel(tmp_path)


def test_the_containers_limit_is_tighter_than_the_machine(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/")
    kernel.group(".", max=4 * GIB, current=3 * GIB, stat=f"anon {2 * GIB}\ninactive_file {GIB}")
    assert memory_bounds(*kernel.places) == (MACHINE, MemoryBound("cgroup", 4 * GIB, 2 * GIB))
    kernel.group(".", stat="inactive_file 0")
    assert tightest_bound(*kernel.places) == MemoryBound("cgroup", 4 * GIB, GIB)


def test_the_whole_chain_upward_counts(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/pod/job")
    kernel.group("pod/job", max="max", current=GIB)
    kernel.group("pod", max=10 * GIB, current=9 * GIB)
    kernel.group("other", max=1, current=1)
    assert memory_bounds(*kernel.places) == (MACHINE, MemoryBound("cgroup", 10 * GIB, GIB))


def test_the_machine_may_be_the_tighter_one(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/")
    kernel.group(".", max=4 * GIB, current=GIB)
    assert tightest_bound(*kernel.places) == MACHINE


def test_a_high_mark_bounds_as_well(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/")
    kernel.group(".", max=8 * GIB, high=2 * GIB, current=3 * GIB)
    assert tightest_bound(*kernel.places) == MemoryBound("cgroup", 2 * GIB, 0)


def test_version_1(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n0::/")
    kernel.group("memory/docker/abc", limit_in_bytes=6 * GIB, usage_in_bytes=5 * GIB, stat=f"inactive_file 1\ntotal_inactive_file {GIB}")
    kernel.group("memory/docker", limit_in_bytes=9223372036854771712, usage_in_bytes=5 * GIB)
    kernel.group("cpu/docker/abc", limit_in_bytes=1, usage_in_bytes=1)
    assert memory_bounds(*kernel.places) == (MACHINE, MemoryBound("cgroup", 6 * GIB, 2 * GIB))


def test_a_container_that_sees_only_the_root_of_its_own_groups(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/kubepods/pod1/abc")
    kernel.group("memory", limit_in_bytes=2 * GIB, usage_in_bytes=GIB)
    assert memory_bounds(*kernel.places)[1:] == (MemoryBound("cgroup", 2 * GIB, GIB),)


def test_the_other_version_beside_version_1(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/job")
    kernel.group("unified/job", max=2 * GIB, current=GIB)
    assert memory_bounds(*kernel.places)[1:] == (MemoryBound("cgroup", 2 * GIB, GIB),)


@pytest.mark.parametrize("text", ["", "0::/../above", "0::/not/there", "nonsense:without:"])
def test_without_groups_there_is_the_machine(kernel: Kernel, text: str) -> None:
    kernel.write("proc/self/cgroup", text)
    assert memory_bounds(*kernel.places) == (MACHINE,)
    assert tightest_bound(kernel.root / "none", kernel.root / "none") == MACHINE


def test_a_group_that_does_not_say_its_use_bounds_nothing(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/")
    kernel.group(".", max=GIB)
    assert memory_bounds(*kernel.places) == (MACHINE,)


def test_this_machine_has_bounds() -> None:
    assert 0 < tightest_bound().ratio <= 1


def test_kills_of_both_versions(kernel: Kernel) -> None:
    kernel.write("proc/vmstat", "pgfault 12\noom_kill 7")
    assert oom_kills(*kernel.places) == OomKills(None, 7)
    kernel.write("proc/self/cgroup", "0::/job")
    kernel.group("job", events="max 3\noom 1\noom_kill 2")
    assert oom_kills(*kernel.places) == OomKills(2, 7)
    kernel.write("proc/self/cgroup", "4:memory:/job")
    kernel.group("memory/job", oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 5")
    assert oom_kills(*kernel.places) == OomKills(5, 7)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ((0, 0), (1, 1), "certain"),
        ((0, 0), (0, 1), "none"),
        ((None, 3), (None, 4), "likely"),
        ((None, 3), (None, 3), "none"),
        ((None, None), (None, None), "unknown"),
        ((None, None), (1, 1), "unknown"),
    ],
)
def test_how_sure_a_kill_is(before: tuple[int | None, int | None], after: tuple[int | None, int | None], said: str) -> None:
    assert OomKills(*after).since(OomKills(*before)) == said
