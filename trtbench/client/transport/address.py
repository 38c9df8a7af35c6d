"""The address of a server, HOST:PORT: it is parsed, resolved and connected to within a time limit. Each kind of failure has its message."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from typing import Any

from trtbench.errors import UserError
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns
from trtbench.system.foreign_text import shown

_HIGHEST_PORT = 65_535


class AddressError(UserError):
    """No server can be reached at an address in the requested way; the message says what answers there and what to change."""


class TimeLimit:
    """A time limit for several steps together."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end_ns = now_ns() + seconds_ns(limit_s)

    @property
    def left_s(self) -> float:
        """The remaining seconds, and never 0, which sockets interpret as "do not wait"."""
        return max((self._end_ns - now_ns()) / NS_PER_S, 0.001)


def host_and_port(url: str) -> tuple[str, int]:
    """The host and port of `url`, which is HOST:PORT with an IPv6 host in brackets; AddressError if it is anything else."""
    host, separator, port = url.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or (":" in host and not bracketed) or not port.isascii() or not port.isdigit():
        raise AddressError(f"--url {shown(url)}: write HOST:PORT, as localhost:8001 or [::1]:8001")
    if len(port) > 5 or not 0 < int(port) <= _HIGHEST_PORT:
        raise AddressError(f"--url {shown(url)}: port {shown(port, 20)} is out of range; ports are 1 to {_HIGHEST_PORT}")
    return host.strip("[]"), int(port)


def grpc_address(url: str) -> str:
    """HOST:PORT of a URL of the user, which may say grpc:// or grpcs://; AddressError if it is anything else."""
    scheme, separator, address = url.rpartition("://")
    if separator and scheme not in ("grpc", "grpcs"):
        http = "; an HTTP endpoint needs its --endpoint-type too" if scheme in ("http", "https") else ""
        raise AddressError(
            f"--url {shown(url)}: {shown(scheme)} is not gRPC; give HOST:PORT of the gRPC endpoint (8001 by default), "
            f"or grpcs:// for TLS{http}"
        )
    address = address.rstrip("/")
    host_and_port(address)
    return address


def connect(url: str, limit: TimeLimit, remedy: str = "correct --url") -> socket.socket:
    """A TCP connection to the first address of the host that accepts one; AddressError with the `remedy` if none does."""
    host, port = host_and_port(url)
    addresses = _resolve(url, host, port, limit)
    fault: OSError = TimeoutError()
    for tried, (family, address) in enumerate(addresses):
        connecting = socket.socket(family, socket.SOCK_STREAM)
        connecting.settimeout(limit.left_s / (len(addresses) - tried))
        try:
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            fault = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise AddressError(f"{url}: {_why_not_connected(fault, limit, remedy)}") from fault


def _why_not_connected(fault: OSError, limit: TimeLimit, remedy: str) -> str:
    if isinstance(fault, TimeoutError) and fault.errno is None:
        return f"no answer to a TCP connection within {limit.limit_s:g} s: the host is down or a firewall drops the packets; {remedy}"
    if fault.errno == errno.ECONNREFUSED:
        return f"connection refused, no program listens on this port: start the server, or {remedy}"
    if fault.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.ETIMEDOUT):
        return f"the host cannot be reached ({fault.strerror}): correct the host in --url, or the network route to it"
    return f"failed to connect ({fault.strerror or fault}): {remedy}"


def _resolve(url: str, host: str, port: int, limit: TimeLimit) -> list[tuple[int, Any]]:
    """The addresses of a host. A thread resolves it, because the system's resolver has no time limit and cannot be interrupted."""
    answers: queue.Queue[list[Any] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
            answers.put(error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error)))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=limit.left_s)
    except queue.Empty:
        raise AddressError(f"{url}: DNS gave no answer within {limit.limit_s:g} s: give the host's IP address in --url") from None
    if isinstance(answer, OSError):
        raise AddressError(f"{shown(url)}: the host has no address ({shown(answer.strerror or '', 100)}): correct the host in --url")
    return [(family, address) for family, _, _, _, address in answer]
