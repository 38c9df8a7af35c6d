"""The order of `make test`: files side by side on every core, then on one worker, with the machine to themselves, the tests that measure
time or start a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ALONE = "alone"
_MEASURING = ("client", "load", "plan", "self_test")
"""Directories of tests that compare instants, or whose many processes need the cores."""


def mark_alone(item: pytest.Item, tests: Path) -> None:
    """What `--dist loadgroup` shows the scheduler of a test."""
    measures = item.path.relative_to(tests).parts[0] in _MEASURING
    if measures or any(map(item.get_closest_marker, ("alone", "triton"))):
        item.add_marker(pytest.mark.xdist_group(ALONE))


class AloneLast(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return ALONE if nodeid.endswith(f"@{ALONE}") else nodeid.split("::")[0]

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
