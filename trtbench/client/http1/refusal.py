"""Refusal: what an answer means that is not the one asked for: a status other than 2xx, a redirect, a page of a proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from trtbench.client.wire import StreamEnded
from trtbench.system.foreign_text import shown

Head = Mapping[bytes, bytes]
"""The headers of an answer, by their names in lower case."""

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(style|script).*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_LONGEST_WAIT_S = 1e9


def refusal(stream_id: int, status: int, head: Head, body: bytes) -> StreamEnded:
    """The end of an answer without messages. `body` is its beginning, which is the text of the message unless it is a page."""
    text = body.decode("utf-8", "replace").strip()
    if 300 <= status < 400:
        where = shown(head.get(b"location", b"").decode("utf-8", "replace")) or "another address, which it does not name"
        text = f"the server redirects to {where}; redirects are not followed: give the final address in --url"
    elif is_page(head):
        text = f"an HTML page answers, as of a proxy or another web server ({_heading(text)}): is --url the address of the model server?"
    return StreamEnded(stream_id, f"HTTP {status}", text, retry_after_s=_retry_after_s(head))


def is_page(head: Head) -> bool:
    return head.get(b"content-type", b"").lower().lstrip().startswith((b"text/html", b"application/xhtml"))


def _heading(page: str) -> str:
    """The title of a page, or its first words."""
    title = _TITLE.search(page)
    return shown(title[1] if title else _TAG.sub(" ", page), 100) or "an empty one"


def _retry_after_s(head: Head) -> float | None:
    """The time that the server asks to wait: in seconds, or until an instant by its own clock (RFC 9110, section 10.2.3)."""
    value = head.get(b"retry-after", b"").decode("latin-1").strip()
    try:
        wait_s = float(value) if not value.endswith("GMT") else _seconds_between(head.get(b"date", b"").decode("latin-1"), value)
    except ValueError:
        return None
    return wait_s if 0 <= wait_s < _LONGEST_WAIT_S else None


def _seconds_between(start: str, end: str) -> float:
    """ValueError if one of the two is not an instant."""
    return (parsedate_to_datetime(end) - parsedate_to_datetime(start)).total_seconds()
