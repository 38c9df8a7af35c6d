from __future__ import annotations

from trtbench.client.transport.connection_parts import Keepalive
from trtbench.system.clock import NS_PER_S

S = NS_PER_S


def test_a_connection_that_talks_is_left_alone() -> None:
    keepalive = Keepalive(20 * S, 0)
    for second in range(1, 100):
        keepalive.received_ns = second * S
        assert keepalive.check((second + 19) * S, in_flight=True) == "wait"


def test_silence_with_nothing_in_flight_is_no_matter() -> None:
    assert Keepalive(20 * S, 0).check(10_000 * S, in_flight=False) == "wait"


def test_silence_is_asked_once_and_given_up_without_an_answer() -> None:
    keepalive = Keepalive(20 * S, 0)
    assert [keepalive.check(second * S, True) for second in (20, 21, 22, 41, 42)] == ["wait", "ping", "wait", "wait", "lost"]


def test_after_an_answer_the_next_ping_waits_five_minutes_until_data_comes() -> None:
    keepalive = Keepalive(20 * S, 0)
    assert keepalive.check(21 * S, True) == "ping"
    keepalive.received_ns = 22 * S
    keepalive.ponged()
    assert [keepalive.check(second * S, True) for second in (100, 322, 323)] == ["wait", "wait", "ping"]
    keepalive.received_ns = 324 * S
    keepalive.ponged()
    keepalive.received_ns = 400 * S  # data
    assert [keepalive.check(second * S, True) for second in (420, 421)] == ["wait", "ping"]


def test_data_answers_a_ping_too() -> None:
    keepalive = Keepalive(20 * S, 0)
    assert keepalive.check(21 * S, True) == "ping"
    keepalive.received_ns = 30 * S
    assert keepalive.check(45 * S, True) == "wait"
