"""A request of HTTP/1.1: its bytes before the body, and what of a client's settings it can follow."""

from __future__ import annotations

import re
from functools import lru_cache

from trtbench import __version__
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.parts.part import ScenarioError

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, and values, which are printable ASCII (`metadata_of` checks them)."""

_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e]*")  # printable, and no fragment


@lru_cache(maxsize=256)
def request_head(authority: str, target: str, headers: Headers) -> bytes:
    """A POST of JSON to `target`, a path with its query, up to the number of bytes of the body, which is still to be added.

    Answers are asked for uncompressed: a compressed stream of events would be held back until there is enough to compress. ValueError if
    `target` cannot be sent.
    """
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target[:200]!r} is not the path of a request: it begins with / and has printable ASCII without blanks and #")
    fields = {
        "host": authority if authority.isascii() else authority.encode("idna").decode(),
        "user-agent": f"trtbench/{__version__}",
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        **dict(headers),
    }
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "content-length: "]
    return "\r\n".join(lines).encode("ascii")


def one_request_a_connection(settings: ClientSettings) -> ClientSettings:
    """`settings` with one stream on each connection; ScenarioError if they give another number."""
    asked = settings.streams_per_connection
    if asked not in (None, 1):
        raise ScenarioError(
            f"client.streams_per_connection: {asked}, but HTTP/1.1 carries one request at a time on a connection: leave it out, or give 1"
        )
    return settings.model_copy(update={"streams_per_connection": 1})
