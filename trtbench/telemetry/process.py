"""CPU, memory, descriptors and threads of the process trees of servers, balancer and load generator, and of the whole machine."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf
from pathlib import Path
from time import thread_time_ns
from typing import Any, Literal, NamedTuple

import psutil

from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.memory import memory_bounds

_SCAN_SHARE = 0.002
"""Share of one core that the search for the trees' members may take. A scan reads every process, and a GPU node has thousands."""

_SHORTEST_CPU_SPAN_NS = 20_000_000  # two of the kernel's ticks

Role = Literal["server", "client", "balancer", "replica"]
_SERIES: Mapping[Role, Mapping[SeriesName, str]] = {
    "server": {
        "server_cpu_cores": "cpu_cores",
        "server_rss_bytes": "rss_bytes",
        "server_fds": "fds",
        "server_threads": "threads",
        "server_processes": "processes",
        "server_major_faults": "major_faults",
    },
    "client": {"client_cpu_cores": "cpu_cores", "client_rss_bytes": "rss_bytes", "client_fds": "fds", "client_threads": "threads"},
    "balancer": {"balancer_cpu_cores": "cpu_cores", "balancer_rss_bytes": "rss_bytes", "balancer_fds": "fds"},
    "replica": {"replica_cpu_cores": "cpu_cores", "replica_rss_bytes": "rss_bytes"},
}
"""The series of each kind of process tree, with the field of `Usage` that it has."""

_ATTRIBUTES = ("cpu_times", "memory_info", "num_fds", "num_threads")


@dataclass(frozen=True)
class Usage:
    """Sums over a tree. None: not known (no earlier reading to take CPU time from, or a member that may not be read)."""

    cpu_cores: float | None
    rss_bytes: int | None
    fds: int | None
    threads: int | None
    processes: int
    major_faults: int | None = None

    def samples(self, role: Role, time_ns: int, label: str = "") -> list[Sample]:
        """The samples of the series that are known."""
        values = ((series, getattr(self, field)) for series, field in _SERIES[role].items())
        return [Sample(time_ns, series, label, float(value)) for series, value in values if value is not None]

    def __add__(self, other: Usage) -> Usage:
        names = ("cpu_cores", "rss_bytes", "fds", "threads", "major_faults")
        added = {name: _sum((getattr(self, name), getattr(other, name))) for name in names}
        return Usage(**added, processes=self.processes + other.processes)


class Entry(NamedTuple):
    """A process in a scan. `started`, in kernel ticks since boot, distinguishes it from a later process with the same pid."""

    parent: int
    started: int


def descendants(table: Mapping[int, Entry], root: int, without: Collection[int] = ()) -> set[int]:
    """`root` and all below it in {pid: entry}, less the subtrees that start at the pids `without`; empty when `root` is not there."""
    children: dict[int, list[int]] = {}
    for pid, entry in table.items():
        children.setdefault(entry.parent, []).append(pid)
    found: set[int] = set()
    waiting = [root] if root in table else []
    while waiting:
        pid = waiting.pop()
        if pid not in found and pid not in without:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


class ProcessTree:
    """The members of one tree, with their CPU time and major page faults at the last reading.

    The CPU time and the faults of a member count from the reading that first saw it, and stay counted when the member is gone.
    Shared pages count once for each member. The kernel counts CPU time in hundredths of a second, so that `cpu_cores`
    has steps of 0.04 at 250 ms, and is left out of a reading that follows the last one too soon.
    """

    def __init__(self, root: int, without: Collection[int] = ()) -> None:
        self._root = root
        self._root_started: int | None = None  # known from the first scan on
        self._without = without
        self._members: dict[tuple[int, int], psutil.Process] = {}
        self._cpu_s: dict[psutil.Process, float] = {}
        self._faults_of: dict[psutil.Process, int] = {}
        self._faults = 0
        self._read_ns = 0

    def update(self, table: Mapping[int, Entry]) -> None:
        """Take the members from a new scan. A process that reuses a pid is a new member, unless it is the root's pid."""
        root = table.get(self._root)
        if self._root_started is None and root:
            self._root_started = root.started
        alive = root is not None and root.started == self._root_started
        pids = descendants(table, self._root, self._without) if alive else ()
        members = {}
        for key in ((pid, table[pid].started) for pid in pids):
            try:
                members[key] = self._members.get(key) or psutil.Process(key[0])
            except psutil.NoSuchProcess:
                continue
        self._members = members

    def read(self, time_ns: int) -> Usage | None:
        """The usage at `time_ns`, which is now; None when the root is gone."""
        usages = dict(self._usages())
        if self._root not in {process.pid for process in usages}:
            return None
        _, memory, fds, threads = zip(*usages.values(), strict=True)
        cores = self._cores({process: times.user + times.system for process, (times, *_) in usages.items() if times}, time_ns)
        faults = self._count_faults(usages)
        return Usage(cores, _sum(m and m.rss for m in memory), _sum(fds), _sum(threads), len(usages), faults)

    def _count_faults(self, processes: Iterable[psutil.Process]) -> int:
        now = {process: faults for process in processes if (faults := _major_faults(process.pid)) is not None}
        self._faults += sum(now[process] - self._faults_of[process] for process in now.keys() & self._faults_of.keys())
        self._faults_of = now
        return self._faults

    def _cores(self, cpu_s: dict[psutil.Process, float], time_ns: int) -> float | None:
        """Cores in use since the last reading that had CPU times; None when that reading was less than two kernel ticks ago."""
        span_ns = time_ns - self._read_ns
        if self._read_ns and span_ns < _SHORTEST_CPU_SPAN_NS:
            return None
        used_s = sum(cpu_s[process] - self._cpu_s[process] for process in cpu_s.keys() & self._cpu_s.keys())
        cores = used_s * NS_PER_S / span_ns if self._read_ns else None
        self._cpu_s, self._read_ns = cpu_s, time_ns
        return cores

    def _usages(self) -> Iterator[tuple[psutil.Process, tuple[Any, ...]]]:
        for process in self._members.values():
            try:
                usage = process.as_dict(_ATTRIBUTES, ad_value=None)
            except psutil.NoSuchProcess:
                continue
            yield process, tuple(usage[name] for name in _ATTRIBUTES)


def _major_faults(pid: int) -> int | None:
    """Pages that a process has had to wait for: field 12 of /proc/PID/stat (proc(5)); None if it is gone."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[9])


def _sum(values: Any) -> int | None:
    """The sum, or None if any value is None: a sum over some processes would look like a sum over all."""
    known = list(values)
    return None if None in known else sum(known)


class Processes:
    """Source of the `server_*`, `client_*` and `balancer_*` series, and `replica_*` of each where there are several servers.

    The client's tree leaves out the others' and this process.
    """

    def __init__(self, server_pids: Sequence[int], client_pid: int, own_pid: int, balancer_pid: int | None = None) -> None:
        self._servers = [ProcessTree(pid) for pid in server_pids]
        self._others: dict[Role, ProcessTree] = {"client": ProcessTree(client_pid, {own_pid, *server_pids, balancer_pid or own_pid})}
        if balancer_pid is not None:
            self._others["balancer"] = ProcessTree(balancer_pid)
        self._scan_due_ns = 0

    def read(self) -> list[Sample]:
        """One reading of each tree whose root runs; the sum of the servers only when all of them run."""
        if now_ns() >= self._scan_due_ns:
            self._update()
        samples = self._read_servers()
        for role, tree in self._others.items():
            time_ns = now_ns()
            usage = tree.read(time_ns)
            samples += usage.samples(role, time_ns) if usage else []
        return samples

    def _read_servers(self) -> list[Sample]:
        samples, usages = [], []
        time_ns = now_ns()
        for number, tree in enumerate(self._servers):
            time_ns = now_ns()
            if usage := tree.read(time_ns):
                usages.append(usage)
                samples += usage.samples("replica", time_ns, str(number)) if len(self._servers) > 1 else []
        if usages and len(usages) == len(self._servers):
            samples += reduce(operator.add, usages).samples("server", time_ns)
        return samples

    def close(self) -> None:
        """Nothing is held open."""

    def _update(self) -> None:
        before_ns = thread_time_ns()
        table = scan()
        for tree in (*self._servers, *self._others.values()):
            tree.update(table)
        self._scan_due_ns = now_ns() + round((thread_time_ns() - before_ns) / _SCAN_SHARE)


def scan() -> dict[int, Entry]:
    """Every process by its pid: fields 4 and 22 of /proc/PID/stat, counted after the command in brackets (proc(5)).

    psutil follows one tree at a time, at two to three times this cost for each.
    """
    table = {}
    for pid in psutil.pids():
        try:
            stat = _read(f"/proc/{pid}/stat")
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        table[pid] = Entry(parent=int(fields[1]), started=int(fields[19]))
    return table


def _read(path: str) -> bytes:
    """A file of less than a page, at a third of the cost of `open()`; a scan reads thousands."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


class Machine:
    """Source of the `machine_*` series of the whole machine, and of the memory that a container with a limit may still use."""

    def __init__(self) -> None:
        psutil.cpu_percent()  # the share of busy time is since the last call
        self._cpu_ns = now_ns()

    def read(self) -> list[Sample]:
        """One reading; without CPU time when the last reading was less than two kernel ticks ago."""
        time_ns = now_ns()
        available = {"machine": inf, "cgroup": inf}
        for bound in memory_bounds():
            available[bound.kind] = min(available[bound.kind], bound.available_bytes)
        samples = [Sample(time_ns, "machine_memory_available_bytes", "", available["machine"])]
        if available["cgroup"] < inf:
            samples.append(Sample(time_ns, "container_memory_available_bytes", "", available["cgroup"]))
        if (pages := _swapped_in_pages()) is not None:
            samples.append(Sample(time_ns, "machine_swapped_in_pages", "", pages))
        if time_ns - self._cpu_ns >= _SHORTEST_CPU_SPAN_NS:
            self._cpu_ns = time_ns
            samples.append(Sample(time_ns, "machine_cpu_ratio", "", psutil.cpu_percent() / 100))
        return samples

    def close(self) -> None:
        """Nothing is held open."""


def _swapped_in_pages() -> int | None:
    """`pswpin` of /proc/vmstat, since boot; None where the kernel has no swap."""
    try:
        with Path("/proc/vmstat").open("rb") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(b"pswpin ")), None)
    except OSError:
        return None
