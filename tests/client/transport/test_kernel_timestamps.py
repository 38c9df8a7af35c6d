from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.transport import kernel_timestamps
from trtbench.client.transport.kernel_timestamps import CONTROL_BYTES, KernelStamps, StampsUnavailable
from trtbench.system.clock import NS_PER_S, now_ns, wall_offset

pytestmark = pytest.mark.timeout(30)

Control = list[tuple[int, int, bytes]]


def control(wall_ns: int) -> Control:
    """As recvmsg gives a stamp: three timespecs, the first is software's."""
    return [(socket.SOL_SOCKET, kernel_timestamps.SO_TIMESTAMPING, struct.pack("@6q", *divmod(wall_ns, NS_PER_S), 0, 0, 0, 0))]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(reader with stamps, writer) over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as reader:
        kernel_timestamps.enable(reader)
        with listener.accept()[0] as writer:
            writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield reader, writer


@pytest.fixture
def kernel() -> Iterator[KernelStamps]:
    try:
        opened = KernelStamps.open()
    except StampsUnavailable as why:
        pytest.skip(str(why))
    yield opened
    opened.close()


@given(st.integers(0, 59 * NS_PER_S))
def test_a_stamp_is_converted_to_the_runs_clock(lag_ns: int) -> None:
    converted = KernelStamps()
    offset_ns, uncertain_ns = wall_offset()
    read_ns = now_ns()
    arrived_ns = converted.arrival(control(read_ns - lag_ns + offset_ns), read_ns)
    assert abs(read_ns - arrived_ns - lag_ns) <= uncertain_ns + 100_000 or (arrived_ns == read_ns and lag_ns < 100_000)


@pytest.mark.parametrize("early_ns", [-5_000_000, 61 * NS_PER_S, 10**18])
def test_a_stamp_that_cannot_be_right_gives_way_to_the_read(early_ns: int) -> None:
    converted = KernelStamps()
    read_ns = now_ns()
    assert converted.arrival(control(read_ns - early_ns + wall_offset()[0]), read_ns) == read_ns
    assert converted.facts()["stamp_fallbacks"] == 1 and converted.facts()["stamped_reads"] == 0


def test_so_does_one_that_is_missing() -> None:
    converted = KernelStamps()
    assert converted.arrival([], 5) == 5 and converted.fallbacks == 1


def test_a_step_of_the_wall_clock_is_noticed_and_no_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = KernelStamps()
    offset_ns = wall_offset()[0]
    monkeypatch.setattr(kernel_timestamps, "wall_offset", lambda: (offset_ns + 500_000_000, 50))
    converted.check()
    assert converted.facts()["clock_steps"] == 1 and converted.facts()["clock_offset_drift_ns"] == 0
    read_ns = now_ns()
    assert converted.arrival(control(read_ns - 1000 + offset_ns + 500_000_000), read_ns) == read_ns - 1000


def test_drift_is_what_the_readings_span(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = KernelStamps()
    first_ns = converted._offset_ns
    for moved_ns in (-300, 700, 100):
        monkeypatch.setattr(kernel_timestamps, "wall_offset", lambda moved_ns=moved_ns: (first_ns + moved_ns, 50))
        converted.check()
    assert converted.facts()["clock_offset_drift_ns"] == 1000 and converted.facts()["clock_steps"] == 0


def test_a_bad_stamp_has_the_clocks_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock was set back: the first stamp after it is lost, the next is right again."""
    converted = KernelStamps()
    back_ns = wall_offset()[0] - NS_PER_S
    monkeypatch.setattr(kernel_timestamps, "wall_offset", lambda: (back_ns, 50))
    read_ns = now_ns() + 10_000_000
    # A clock set back makes stamps look old, not young; one set forward makes them lie after their read.
    assert converted.arrival(control(read_ns + wall_offset()[0] + NS_PER_S * 2), read_ns) == read_ns
    assert converted.steps == 1 and converted.arrival(control(read_ns - 7 + back_ns), read_ns) == read_ns - 7


@pytest.mark.process
def test_the_kernel_stamps_when_data_came_not_when_it_was_read(kernel: KernelStamps, pair: tuple[socket.socket, socket.socket]) -> None:
    reader, writer = pair
    for _ in range(5):
        before_ns = now_ns()
        writer.send(b"x")
        after_ns = now_ns()
        time.sleep(0.02)
        _, found, _, _ = reader.recvmsg(10, CONTROL_BYTES)
        read_ns = now_ns()
        arrived_ns = kernel.arrival(found, read_ns)
        assert before_ns <= arrived_ns <= max(after_ns, read_ns - 15_000_000)
    assert kernel.facts()["stamped_reads"] == 5 and kernel.facts()["stamp_fallbacks"] == 0


def test_a_kernel_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: socket.socket) -> None:
        raise OSError(92, "Protocol not available")

    monkeypatch.setattr(kernel_timestamps, "enable", refuse)
    with pytest.raises(StampsUnavailable, match="SO_TIMESTAMPING: Protocol not available"):
        KernelStamps.open()


@pytest.mark.process
def test_a_kernel_that_takes_the_option_and_stamps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_timestamps, "enable", lambda connection: None)
    with pytest.raises(StampsUnavailable, match="gives no timestamps"):
        KernelStamps.open()


def test_a_system_without_recvmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldSocket:
        pass

    monkeypatch.setattr(socket, "socket", OldSocket)
    with pytest.raises(StampsUnavailable, match="no recvmsg"):
        KernelStamps.open()
