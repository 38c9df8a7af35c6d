"""What an answer says that is not the one asked for."""

from __future__ import annotations

import pytest

from tests.client.http1.test_http_wire import answered, asking
from tests.support.fakes.http_answers import plain

HTML = b"text/html; charset=utf-8"
NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center></body></html>"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 Unauthorized", b"404 Not Found", b"503 Service Unavailable"])
def test_a_status_keeps_the_body(status: bytes) -> None:
    body = b'{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}'
    messages, end = answered(plain(status, body))
    assert messages == [] and end.status == f"HTTP {status[:3].decode()}" and end.message == body.decode()
    assert end.retry_after_s is None and not end.retry_safe


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (b"retry-after: 3", 3.0),
        (b"Retry-After: 0.5", 0.5),
        (b"retry-after: Tue, 01 Dec 2026 10:00:20 GMT\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT", 20.0),
        (b"retry-after: Tue, 01 Dec 2026 10:00:20 GMT", None),
        (b"retry-after: -1", None),
        (b"retry-after: nan", None),
        (b"retry-after: 1e999", None),
        (b"retry-after: soon", None),
    ],
)
def test_how_long_to_wait(header: bytes, wait_s: float | None) -> None:
    assert answered(plain(b"429 Too Many Requests", b"{}", header))[1].retry_after_s == wait_s


def test_a_long_body_is_cut_and_ends_the_connection() -> None:
    wire = asking()
    end = wire.receive(plain(b"500 Internal Server Error", b"x" * 5000))[-1]
    assert end.status == "HTTP 500" and len(end.message) == 4096
    assert wire.is_over
    wire = asking()
    wire.receive(plain(b"500 Internal Server Error", b"x" * 4096))
    assert not wire.is_over


def test_a_redirect_is_not_followed() -> None:
    _, end = answered(plain(b"307 Temporary Redirect", b"", b"location: http://other/\xe2\x80\xaev1"))
    assert end.status == "HTTP 307" and end.message.startswith("the server redirects to http://other/")
    assert "\u202e" not in end.message and "--url" in end.message
    assert "does not name" in answered(plain(b"302 Found", b""))[1].message


@pytest.mark.parametrize("status", [b"200 OK", b"502 Bad Gateway"])
def test_a_page_of_a_proxy(status: bytes) -> None:
    messages, end = answered(plain(status, NGINX, content_type=HTML))
    assert messages == [] and end.status == f"HTTP {status[:3].decode()}"
    assert end.message == (
        "an HTML page answers, as of a proxy or another web server (502 Bad Gateway): is --url the address of the model server?"
    )


def test_a_page_without_a_title() -> None:
    assert "(Hello you)" in answered(plain(b"200 OK", b"<style>p {}</style><p>Hello <b>you</b>", content_type=HTML))[1].message
    assert "(an empty one)" in answered(plain(b"200 OK", b"", content_type=HTML))[1].message
