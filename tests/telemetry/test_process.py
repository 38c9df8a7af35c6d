from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.system.clock import now_ns, sleep_s
from trtbench.system.memory import MemoryBound
from trtbench.telemetry import process
from trtbench.telemetry.process import Entry, Machine, Processes, ProcessTree, Usage, descendants, scan

pytestmark = pytest.mark.process

MAY_BE_THERE = {"container_memory_available_bytes", "machine_swapped_in_pages"}
_TREE = st.dictionaries(st.integers(2, 30), st.integers(1, 30).map(lambda parent: Entry(parent, 0)))


@given(_TREE, st.integers(1, 30), st.sets(st.integers(1, 30)))
def test_descendants_are_those_with_a_way_up_to_the_root(table: dict[int, Entry], root: int, without: set[int]) -> None:
    def reaches(pid: int) -> bool:
        seen: set[int] = set()
        while pid in table and pid not in seen and pid not in without:
            if pid == root:
                return True
            seen.add(pid)
            pid = table[pid].parent
        return False

    assert descendants(table, root, without) == {pid for pid in table if reaches(pid)}


def test_scan_knows_this_process_and_its_child() -> None:
    with _python("input()") as child:
        table = scan()
        assert table[child.pid].parent == os.getpid()
        assert table[os.getpid()].parent == os.getppid()
        assert descendants(table, os.getpid()) >= {os.getpid(), child.pid}
        assert child.pid not in descendants(table, os.getpid(), {child.pid})


def test_scan_reads_a_command_with_brackets_and_spaces() -> None:
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b') R 1 2 (x', 0, 0, 0); print(); input()"
    with _python(code) as child:
        assert scan()[child.pid].parent == os.getpid()


def test_cpu_of_a_busy_child_counts_and_stays_counted_when_it_goes() -> None:
    tree = ProcessTree(os.getpid())
    with _python("while True: pass", wait=False):
        first = _usage(tree)
        assert first.cpu_cores is None  # nothing to subtract from yet
        sleep_s(0.5)
        assert _usage(tree).cpu_cores > 0.1
    sleep_s(0.05)
    after = _usage(tree)
    assert 0 <= after.cpu_cores < 5
    assert after.processes == first.processes - 1


def test_a_reading_right_after_another_has_no_cpu_figure_and_loses_no_time() -> None:
    """As the last one of a run may be: over a span of under two of the kernel's ticks the share would be chance."""
    tree = ProcessTree(os.getpid())
    with _python("while True: pass", wait=False):
        _usage(tree)
        sleep_s(0.3)
        tree.read(now := now_ns())
        assert (soon := tree.read(now + 1_000_000)) and soon.cpu_cores is None and soon.rss_bytes
        sleep_s(0.3)
        later = tree.read(now_ns())
        assert later and later.cpu_cores and later.cpu_cores > 0.05  # counted from the reading before the one that was too soon


def test_a_child_that_was_busy_before_it_was_seen_makes_no_peak() -> None:
    tree = ProcessTree(os.getpid())
    _usage(tree)
    with _python("import time; t = time.process_time()\nwhile time.process_time() - t < 0.5: pass\nprint(); input()"):
        sleep_s(0.02)
        assert _usage(tree).cpu_cores < 0.2  # this process only waited; with the child's half second it would be near 1


def test_counts_of_a_tree_are_the_sums_over_its_members() -> None:
    with _python("import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])") as child:
        usage = _usage(ProcessTree(child.pid))
        members = [child_process := psutil.Process(child.pid), *child_process.children()]
        assert usage.processes == len(members) == 2
        assert usage.fds == sum(member.num_fds() for member in members)
        assert usage.threads == 2
        assert usage.rss_bytes == pytest.approx(sum(member.memory_info().rss for member in members), rel=0.2)


def test_a_gone_root_has_no_usage_even_if_its_pid_comes_again() -> None:
    with _python("input()") as child:
        tree = ProcessTree(child.pid)
        assert _usage(tree)
    tree.update(scan())
    assert tree.read(now_ns()) is None
    another = {child.pid: Entry(1, 10**9), os.getpid(): Entry(child.pid, 0)}
    tree.update(another)
    assert tree.read(now_ns()) is None


def test_what_may_not_be_read_of_one_member_is_unknown_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: psutil.Process) -> int:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "num_fds", refuse)
    usage = _usage(ProcessTree(os.getpid()))
    assert usage.fds is None
    assert usage.rss_bytes
    names = [sample.name for sample in usage.samples("replica", 1)]
    assert "replica_rss_bytes" in names
    assert "server_fds" not in [sample.name for sample in usage.samples("server", 1)]


def test_client_leaves_out_the_server_and_the_sampler() -> None:
    before = psutil.Process().children(recursive=True)  # servers that other tests keep
    with _python("input()") as server, _python("input()") as sampler, _python("input()") as other:
        source = Processes([server.pid], os.getpid(), sampler.pid)
        source.read()
        sleep_s(0.05)
        samples = {sample.name: sample.value for sample in source.read()}
        ours = [psutil.Process(), psutil.Process(other.pid), *before]
        assert samples["client_fds"] == sum(process.num_fds() for process in ours)
        assert samples["server_processes"] == 1
        assert set(samples) == {
            f"{who}_{what}" for who in ("client", "server") for what in ("cpu_cores", "rss_bytes", "fds", "threads")
        } | {"server_processes", "server_major_faults"}


def test_client_goes_on_when_the_server_is_gone_or_was_never_there() -> None:
    with _python("input()") as server:
        source = Processes([server.pid], os.getpid(), 0)
        assert any(sample.name.startswith("server") for sample in source.read())
    names = {sample.name for sample in source.read()}
    assert "client_rss_bytes" in names
    assert not any(name.startswith("server") for name in names)
    assert {sample.name for sample in Processes([], os.getpid(), 0).read()} == {"client_rss_bytes", "client_fds", "client_threads"}


def test_machine_ratio_comes_with_the_second_reading() -> None:
    source = Machine()
    assert {sample.name for sample in source.read()} - MAY_BE_THERE == {"machine_memory_available_bytes"}
    sleep_s(0.1)
    values = {sample.name: sample.value for sample in source.read()}
    assert 0 <= values["machine_cpu_ratio"] <= 1
    assert 0 < values["machine_memory_available_bytes"] <= psutil.virtual_memory().total


def test_a_containers_memory_is_read_where_it_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = [MemoryBound("machine", 100, 80), MemoryBound("cgroup", 60, 20), MemoryBound("cgroup", 40, 30)]
    monkeypatch.setattr(process, "memory_bounds", lambda: bounds)
    values = {sample.name: sample.value for sample in Machine().read()}
    assert (values["machine_memory_available_bytes"], values["container_memory_available_bytes"]) == (80, 20)
    bounds = bounds[:1]
    assert "container_memory_available_bytes" not in {sample.name for sample in Machine().read()}


def _usage(tree: ProcessTree) -> Usage:
    tree.update(scan())
    usage = tree.read(now_ns())
    assert usage is not None
    return usage


@contextmanager
def _python(code: str, wait: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """A child that runs `code`; with `wait`, code that ends in `input()`, once it has come there or said so."""
    ready = f"print(flush=True); {code}" if wait and "print" not in code else code
    child = subprocess.Popen([sys.executable, "-c", ready], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if wait:
            assert child.stdout and child.stdout.readline()
        yield child
    finally:
        for process in psutil.Process(child.pid).children():
            process.kill()
        child.kill()
        child.communicate()


def test_major_faults_are_those_that_the_kernel_counts() -> None:
    assert process._major_faults(os.getpid()) == resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    assert process._major_faults(2**22 + 1) is None


def test_a_tree_counts_the_faults_of_its_members_and_keeps_them() -> None:
    faults = {1: 5, 2: 100}
    tree = ProcessTree(1)
    ones = {pid: mock.Mock(psutil.Process, pid=pid) for pid in faults}
    with mock.patch.object(process, "_major_faults", lambda pid: faults.get(pid)):
        assert tree._count_faults(ones.values()) == 0, "what came before the first reading does not count"
        faults |= {1: 7, 2: 130}
        assert tree._count_faults(ones.values()) == 32
        del faults[2]
        assert tree._count_faults([ones[1]]) == 32, "a member that is gone takes nothing with it"
        faults[1] = 8
        assert tree._count_faults([ones[1]]) == 33
