"""The events of a streamed body, however it is cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.http1.event_stream import EventSplitter, OverlongEventError

MOST_BYTES = 40


def split(*bodies: bytes, most_bytes: int = 1000) -> list[bytes]:
    splitter = EventSplitter(most_bytes)
    return [event for body in bodies for event in splitter.take(body)]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'data: {"a": 1}\n\n', [b'{"a": 1}']),
        (b'data: {"a": 1}\r\n\r\n', [b'{"a": 1}']),
        (b'data: {"a": 1}\r\r', [b'{"a": 1}']),
        (b'data:{"a": 1}\n\ndata: [DONE]\n\n', [b'{"a": 1}', b"[DONE]"]),
        (b"data:  two blanks\n\n", [b" two blanks"]),
        (b"data: first\ndata: second\n\n", [b"first\nsecond"]),
        (b"data\n\ndata:\n\ndata: \n\n", [b"", b"", b""]),
        (b": ping\n\n: ping\n\ndata: x\n\n", [b"x"]),
        (b"event: message\nid: 7\nretry: 100\ndata: x\n: comment\n\n", [b"x"]),
        (b"event: end\n\n\n\n\ndata: x\n\n", [b"x"]),
        (b"database: no\ndata : no\nxdata: no\n\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
        (b"data: x\n", []),
        (b"", []),
    ],
)
def test_what_a_body_holds(body: bytes, events: list[bytes]) -> None:
    assert split(body) == events
    assert split(*(bytes([byte]) for byte in body)) == events


def test_an_event_comes_with_its_last_byte() -> None:
    splitter = EventSplitter(1000)
    assert splitter.take(b"data: x\r") == []
    assert splitter.take(b"\r") == [b"x"]  # the line feed that may follow belongs to this line end
    assert splitter.take(b"\ndata: y\r\n\r\n") == [b"y"]


def test_whether_the_next_byte_begins_an_event() -> None:
    splitter = EventSplitter(1000)
    found = []
    for body in (b"data: x\n\n", b"data", b": x\n\n", b"data: x\r\n\r", b"\n", b"\n"):
        splitter.take(body)
        found.append(splitter.between_events)
    assert found == [True, False, True, False, True, False]
    assert not EventSplitter(1000).between_events  # a byte order mark may come


@pytest.mark.parametrize(("body", "events"), [(b"data: x", [b"x"]), (b"data: x\n", [b"x"]), (b": x", []), (b"", []), (b"data: x\n\n", [])])
def test_the_last_event_may_lack_its_empty_line(body: bytes, events: list[bytes]) -> None:
    splitter = EventSplitter(1000)
    splitter.take(body)
    assert splitter.finish() == events


def test_events_have_a_limit() -> None:
    longest = b"data: ".ljust(MOST_BYTES, b"x")
    assert split(longest + b"\n\n", most_bytes=MOST_BYTES) == [longest[6:]]
    for bodies in ([longest + b"y\n\n"], [longest, b"y\n\n"], [longest + b"yz"], [longest + b"y\ndata: "], [longest + b"y"] * 2):
        with pytest.raises(OverlongEventError, match="over the limit 40"):
            split(*bodies, most_bytes=MOST_BYTES)
    with pytest.raises(OverlongEventError) as fault:
        split(b"data: before\n\n" + longest + b"yz", most_bytes=MOST_BYTES)
    assert fault.value.events == [b"before"]


def pieces(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = sorted(cut % (len(body) + 1) for cut in cuts)
    return [body[start:end] for start, end in zip([0, *edges], [*edges, len(body)], strict=True)]


def outcome(bodies: Sequence[bytes]) -> tuple[list[bytes], bool]:
    """All events, and whether one was too long."""
    splitter, events = EventSplitter(MOST_BYTES), []
    try:
        for body in bodies:
            events += splitter.take(body)
            assert len(splitter._part) <= MOST_BYTES + 1
        return events + splitter.finish(), False
    except OverlongEventError as error:
        return events + error.events, True


TOKENS = st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"data: ", b"x" * 9, b"id", b"\xef\xbb\xbf", b"\0"])


@given(st.lists(TOKENS, max_size=40).map(b"".join), st.lists(st.integers(0, 400), max_size=12))
def test_cuts_change_nothing(body: bytes, cuts: list[int]) -> None:
    assert outcome(pieces(body, cuts)) == outcome([body])


def reference(body: bytes) -> list[bytes]:
    """The standard's algorithm, line by line, on a body in which no event is too long."""
    lines = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines[:-1]:
        if not line:
            events += [b"\n".join(data)] if data else []
            data = []
        elif not line.startswith(b":"):
            name, _, value = line.partition(b":")
            data += [value[1:] if value[:1] == b" " else value] if name == b"data" else []
    return events


@given(st.lists(TOKENS, max_size=40).map(b"".join))
def test_the_same_as_line_by_line(body: bytes) -> None:
    assert split(body, most_bytes=1 << 20) == reference(body)
