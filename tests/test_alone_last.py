"""The scheduler of `make test`, on workers that only note what they are sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")
from tests.support.alone_last import AloneLast

TESTS = [f"tests/test_a.py::{n}" for n in "123"] + [f"tests/test_b.py::{n}" for n in "12"] + [f"tests/load/t.py::{n}@alone" for n in "1234"]


@dataclass(eq=False)
class NotingWorker:
    name: str
    shutting_down: bool = False
    sent: list[int] = field(default_factory=list)
    gateway: Any = field(default_factory=lambda: SimpleNamespace(id="a worker"))

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def started(workers: int, tests: list[str]) -> tuple[Any, list[Any]]:
    config = SimpleNamespace(getvalue=lambda name: [f"{workers}*popen"], option=SimpleNamespace(loadscopereorder=True))
    scheduler = AloneLast(config, SimpleNamespace(loadscopesched=lambda *words: None))  # type: ignore[arg-type]
    nodes = [NotingWorker(str(number)) for number in range(workers)]
    for node in nodes:
        scheduler.add_node(node)  # type: ignore[arg-type]
        scheduler.add_node_collection(node, tests)  # type: ignore[arg-type]
    scheduler.schedule()
    return scheduler, nodes


def finish(scheduler: Any, nodes: list[Any], tests: list[str]) -> list[tuple[str, str]]:
    """(Worker, test) in the order in which they ran; a worker runs its last one when it is told to end, as real ones do."""
    ran: list[tuple[str, str]] = []
    while nodes:
        before = len(ran), len(nodes)
        for node in list(nodes):
            done = sum(name == node.name for name, _ in ran)
            if len(node.sent) - done > (0 if node.shutting_down else 1):
                ran.append((node.name, tests[node.sent[done]]))
                scheduler.mark_test_complete(node, node.sent[done])
            elif node.shutting_down and len(node.sent) == done:
                nodes.remove(node)
                assert node not in scheduler.nodes or scheduler.remove_node(node) is None
        assert (len(ran), len(nodes)) != before, "nothing goes on"
    return ran


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("tests", [TESTS, TESTS[3:], TESTS[:5], TESTS[5:]])
def test_what_runs_alone_runs_last_on_one_worker(workers: int, tests: list[str]) -> None:
    scheduler, nodes = started(workers, tests)
    ran = finish(scheduler, nodes, tests)
    assert sorted(test for _, test in ran) == sorted(tests)
    alone = [(worker, test) for worker, test in ran if test.endswith("@alone")]
    assert ran[len(ran) - len(alone) :] == alone
    assert len({worker for worker, _ in alone}) <= 1


def test_one_that_starts_its_own_server_is_a_unit_of_its_own() -> None:
    tests = [f"tests/run/test_r.py::{n}@by_itself" for n in "1234"] + TESTS
    scheduler, nodes = started(2, tests)
    assert [len(node.sent) for node in nodes] == [3, 3]  # one and the next two, not the four of a file
    assert sorted(test for _, test in finish(scheduler, nodes, tests)) == sorted(tests)


@pytest.mark.parametrize("group", ["vllm", "paced"])
def test_tests_of_a_group_share_a_worker(group: str) -> None:
    tests = [f"tests/{folder}/test_v.py::{n}@{group}" for folder in ("serving", "telemetry") for n in "12"] + TESTS
    ran = finish(*started(3, tests), tests)
    assert len({worker for worker, test in ran if test.endswith(f"@{group}")}) == 1
