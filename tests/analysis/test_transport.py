from __future__ import annotations

import pytest

from trtbench.analysis.transport import Transport, transports
from trtbench.rundir.records import Event

STARTED, READY = Event(0, "deployment_started"), Event(1_000, "server_ready")


def test_the_facts_of_a_worker() -> None:
    facts = {"transport": "wire", "loop": "uvloop", "stamps": "kernel", "connections_opened": 3, "clock_offset_drift_ns": 50, "new": "fact"}
    (told,) = transports([STARTED, READY, Event(2_000, "load_client", data={"workers": [facts]})])
    assert told == Transport("wire", "uvloop", "kernel", "", 3, 0, 0, 0, pytest.approx(0.05), 0)


def test_a_transport_that_keeps_no_counts() -> None:
    facts = {"transport": "grpc", "stamps": "user", "stamps_why": "grpc", "connections": 4}
    (told,) = transports([Event(5, "load_client", data={"workers": [facts]})])
    assert (told.why, told.connections, told.clock_drift_ratio) == ("grpc", 4, 0.0)


def test_a_run_without_client_facts() -> None:
    assert transports([STARTED, READY, Event(9, "load_client", data={"workers": [{}]})]) == (), "its worker was lost"
    assert transports([STARTED, READY]) == ()
