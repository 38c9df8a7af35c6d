"""HttpQuestions: blocking HTTP/1.1 requests before a run, and what is wrong with an address that answers none of them."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trtbench.client.http1.http_wire import HTTP
from trtbench.client.openai.http_errors import status_error
from trtbench.client.protocol import TargetError
from trtbench.client.transport.address import TimeLimit, connect
from trtbench.client.transport.greeting import check_address
from trtbench.client.transport.tls import client_context
from trtbench.errors import UserError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.system.foreign_text import shown

MOST_ANSWER_BYTES = 4 << 20  # the list of a gateway's models has some hundred KiB
_KEY = "give the key by --api-key-env VARIABLE or --api-key-file FILE"


@dataclass(frozen=True)
class Answer:
    """The answer to a question: its status, its headers by lower-case name, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_html(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/html") or self.body.lstrip()[:1] == b"<"

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def tree(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str:
        """What an answer with an error says."""
        return shown(status_error(self.status, self.body.decode("utf-8", "replace"))[1], 300)


class HttpQuestions:
    """Asks the server at `url`, which is http(s)://HOST:PORT with an optional prefix, with the TLS and the headers of `settings`.

    AddressError if no HTTP/1.1 server answers there in that way, UserError if a file or a header of `settings` cannot be used.
    """

    def __init__(self, url: str, settings: ClientSettings, timeout_s: float) -> None:
        self.url, self._timeout_s = url, timeout_s
        parts = urlsplit(url)
        self._address, self._prefix = parts.netloc, parts.path.rstrip("/")
        self._headers = dict(metadata_of(settings.headers))
        self._tls = settings.tls
        self._context = client_context(settings.tls, HTTP.alpn) if settings.tls else None
        check_address(self._address, HTTP, settings, timeout_s)

    def ask(self, path: str, body: dict[str, Any] | None = None, timeout_s: float | None = None) -> Answer:
        """The answer to GET, or to POST if there is a `body`. TargetError if none comes, or if the server redirects, refuses the key or
        sends a page of HTML."""
        answer = self._ask(self._prefix + path, body, timeout_s or self._timeout_s)
        where = f"{self.url}: {shown(self._prefix + path)}"
        if 300 <= answer.status < 400:
            to = shown(answer.headers.get("location", "an address that it does not name"), 200)
            raise TargetError(f"{where} redirects to {to}, and trtbench follows no redirect: give the final address as --url")
        if answer.status in (401, 403, 407):
            raise TargetError(f"{where}: the server does not accept the credentials ({answer.error}): {_KEY}")
        if answer.is_html and answer.status != 404:
            title = shown(answer.body.decode("utf-8", "replace"), 80)
            raise TargetError(
                f"{where} is answered with a page of HTML ({answer.status}: {title}), as a proxy or a web page does, not with JSON: "
                "correct the host, the port and the prefix in --url"
            )
        return answer

    def _ask(self, path: str, body: dict[str, Any] | None, timeout_s: float) -> Answer:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"} | self._headers
        try:
            with self._connected(TimeLimit(timeout_s)) as connected:
                connection = http.client.HTTPConnection(self._address)
                connection.sock = connected
                connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body).encode(), headers)
                answer = connection.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, found, answer.read(MOST_ANSWER_BYTES))
        except TimeoutError as error:
            raise TargetError(f"{self.url}: no answer to {shown(path)} within {timeout_s:g} s: is the server overloaded?") from error
        except (http.client.HTTPException, OSError) as error:
            why = shown(str(error) or type(error).__name__, 100)
            raise TargetError(f"{self.url}: the answer to {shown(path)} is incomplete ({why}): see the server's log") from error

    @contextmanager
    def _connected(self, limit: TimeLimit) -> Iterator[socket.socket]:
        with closing(connect(self._address, limit, HTTP.default_port)) as connected:
            connected.settimeout(limit.limit_s)
            if self._context is None:
                yield connected
                return
            name = (self._tls and self._tls.server_name) or urlsplit(self.url).hostname
            with closing(self._context.wrap_socket(connected, server_hostname=name)) as encrypted:
                yield encrypted


def http_address(url: str) -> str:
    """http(s)://HOST:PORT[/prefix] of a URL that may lack its scheme, its port or end in /v1; UserError for anything else."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError as error:
        raise UserError(f"--url {shown(url)}: {error}; write http://HOST:PORT") from None
    if parts.scheme not in ("http", "https"):
        raise UserError(f"--url {shown(url)}: {shown(parts.scheme)} is not HTTP; write http://HOST:PORT, or give --endpoint-type kserve")
    if parts.username is not None:
        raise UserError("--url: a user name and a password cannot be sent with it; leave them out, and give --header-env NAME:VARIABLE")
    if not parts.hostname or parts.query or parts.fragment or not whole.isascii() or not whole.isprintable() or " " in whole:
        raise UserError(f"--url {shown(url)}: write http://HOST:PORT, with a prefix if the server has one")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{host}:{port}{prefix}"
