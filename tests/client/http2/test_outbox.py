from __future__ import annotations

import random

import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fakes.http2_servers import OK, PATH, H2Server, RawServer, prefixed
from trtbench.client.http2 import frames
from trtbench.client.http2.wire_connection import StreamEnded, WireError


def test_a_large_message_waits_for_windows_and_arrives_whole() -> None:
    server = H2Server()
    message = random.Random(1).randbytes(1_000_000)
    first, second = (server.client.open_stream(PATH) for _ in range(2))
    server.client.send_message(first, message, end_stream=True)  # h2 takes no DATA after the end
    server.client.send_message(second, b"small", end_stream=True)
    assert server.client.pending_bytes == 1_000_005 + 10 - 65535
    server.pump()
    assert sorted(event.stream_id for event in server.of(h2.events.StreamEnded)) == [first, second]
    assert server.bodies == {first: prefixed(message), second: prefixed(b"small")}
    assert server.client.pending_bytes == 0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3000), st.booleans()), max_size=12),
    st.lists(st.integers(0, 2000), min_size=1, max_size=6),
    st.integers(0, 2**32),
)
def test_whatever_the_windows_do_bytes_arrive_once_and_in_order(sends: list[tuple[int, int, bool]], windows: list[int], seed: int) -> None:
    """h2 raises FlowControlError for a byte too many; settings that shrink make windows negative."""
    server, chance = H2Server(INITIAL_WINDOW_SIZE=windows[0]), random.Random(seed)
    ids = [server.client.open_stream(PATH) for _ in range(3)]
    server.pump()
    server.acknowledges = False
    sent = dict.fromkeys(ids, b"")
    for which, size, pump in sends:
        message = chance.randbytes(size)
        server.client.send_message(ids[which], message)
        sent[ids[which]] += prefixed(message)
        if pump:
            server.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: chance.choice(windows)})
            server.pump()
    server.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
    server.pump()
    assert {stream_id: server.bodies.get(stream_id, b"") for stream_id in ids} == sent
    assert server.client.pending_bytes == 0


def test_the_end_of_a_request_is_in_the_last_frame_of_its_message() -> None:
    server = RawServer()
    server.client.send_message(1, bytes(40_000), end_stream=True)
    assert [len(payload) for _, _, payload in server.sent()] == [16_384, 16_384, 40_005 - 2 * 16_384]
    assert server.client.receive(server.trailers(1, OK)) == [StreamEnded(1, "OK", "")]
    assert server.sent() == []  # both sides have ended it: there is nothing to reset


def test_windows_may_be_as_wide_as_allowed() -> None:
    server = RawServer()
    widest = frames.MAX_WINDOW_BYTES - frames.DEFAULT_WINDOW_BYTES
    assert server.client.receive(frames.window_update(1, widest) + frames.window_update(0, widest)) == []
    (ended,) = server.client.receive(frames.window_update(1, 1))
    assert isinstance(ended, StreamEnded)
    with pytest.raises(WireError, match="WINDOW_UPDATE of 1 bytes"):
        server.client.receive(frames.window_update(0, 1))


def test_a_stream_that_may_not_send_does_not_hold_the_others() -> None:
    server = H2Server(INITIAL_WINDOW_SIZE=50)
    blocked, free = (server.client.open_stream(PATH) for _ in range(2))
    server.pump()
    server.acknowledges = False
    server.client.send_message(blocked, bytes(500))
    server.client.send_message(free, bytes(20))
    server.pump()
    assert [len(server.bodies[stream_id]) for stream_id in (blocked, free)] == [50, 25]
    server.client.reset(blocked)
    assert server.client.pending_bytes == 0


def test_the_frame_size_of_the_peer_is_kept() -> None:
    server = RawServer()
    server.client.receive(frames.settings({frames.MAX_FRAME_SIZE: 1 << 15, frames.INITIAL_WINDOW_SIZE: 1 << 20}))
    server.client.send_message(1, bytes(60_000))
    assert [len(payload) for kind, _, payload in server.sent() if kind == frames.DATA] == [1 << 15, 60_005 - (1 << 15)]
