"""Events of a run, written tersely."""

from __future__ import annotations

from typing import Any

from trtbench.rundir.event_kinds import EventData
from trtbench.rundir.events import event_of


def plain(data: EventData) -> tuple[str, dict[str, Any]]:
    """(Kind, JSON) of what an event says."""
    event = event_of(0, data)
    return event.kind, dict(event.data)
