"""The order of `make test`: first the tests of the real servers, which take longest, then those of processes, then the pure ones, side by
side on a few workers more than there are cores; last, on one worker with the machine to themselves, the tests that measure time.

Starts of servers, loads at a rate and time limits are waiting: with as many workers as cores the cores rest for a quarter of the time.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ALONE, BY_ITSELF, PACED, VLLM = "alone", "by_itself", "paced", "vllm"


def mark_scope(item: pytest.Item) -> None:
    """Writes into the name of a test what the scheduler, in another process, has to know. A test of marker `by_itself`, and one that starts
    its own server, shares nothing with those of its file and runs wherever there is room. All tests of vLLM share a server. Those of
    marker `paced` follow one another: side by side their reloads would be late for their own schedule.
    (The marker xdist_group does it no longer: xdist 3.8 sets a `_nodeid` that pytest 9.2 does not read.)"""
    if item.get_closest_marker("alone"):
        _add_to_name(item, ALONE)
    elif group := next(filter(item.get_closest_marker, (VLLM, PACED)), None):
        _add_to_name(item, group)
    elif item.get_closest_marker(BY_ITSELF) or _starts_its_own_server(item):
        _add_to_name(item, BY_ITSELF)


def _starts_its_own_server(item: pytest.Item) -> bool:
    scopes = _fixtures_of(item)
    return bool(item.get_closest_marker("triton")) and "start_run" in scopes and "module" not in scopes.values()


def _add_to_name(item: pytest.Item, group: str) -> None:
    item._id = type(item.id).parse(f"{item.nodeid}@{group}")  # type: ignore[attr-defined]


def _fixtures_of(item: pytest.Item) -> dict[str, str]:
    """The scope of each fixture, by name."""
    return {name: found[-1].scope for name, found in item._fixtureinfo.name2fixturedefs.items()}  # type: ignore[attr-defined]


def workers(cores: int) -> int:
    """Three for two cores."""
    return cores + cores // 2 if cores > 1 else 1


class AloneLast(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.endswith(f"@{BY_ITSELF}"):
            return nodeid
        return next((group for group in (ALONE, VLLM, PACED) if nodeid.endswith(f"@{group}")), nodeid.split("::")[0])

    def _reschedule(self, node: WorkerController) -> None:
        """When only the tests that run alone are left, all workers but the last asked end, and those tests wait until they have."""
        if set(self.workqueue) == {ALONE} and not node.shutting_down:
            others = [other for other in self.assigned_work if other is not node]
            if any(not other.shutting_down for other in others):
                node.shutdown()
                return
            if others:
                return
        super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if ALONE in self.workqueue:
            self.workqueue.move_to_end(ALONE)
            if len(self.workqueue) == 1 and len(self.assigned_work) > 1:
                return
        super()._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        crashed = super().remove_node(node)
        for other in list(self.assigned_work):
            self._reschedule(other)
        return crashed
