"""The address of a page of metrics as a user writes it, and what is wrong with a page that cannot be read, before the load."""

from __future__ import annotations

import http.client
import re
from contextlib import closing
from urllib.parse import urlsplit

from trtbench.errors import UserError
from trtbench.system.foreign_text import shown
from trtbench.telemetry.page import Page, PageError
from trtbench.telemetry.serve_stats import is_iterations, iteration_samples

_METRICS_PORT, _METRICS_PATH = 8002, "/metrics"  # Triton's defaults
_LOOKED_AT = 8 << 20
_OURS = ("nv_", "trtllm_", "trtbench_", "vllm:")
_SERIES = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{[^\n]*\})? +\S+", re.MULTILINE)
_LEAVE_OUT = "correct --metrics-url (Triton's page is http://HOST:8002/metrics), or leave it out: engine gauges are then missing"


def metrics_address(url: str | None) -> str | None:
    """http://HOST:PORT/PATH of a metrics page that may be written as perf_analyzer writes it, HOST:PORT/metrics."""
    if url is None:
        return None
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        port = parts.port or _METRICS_PORT
    except ValueError as error:
        raise UserError(f"--metrics-url {url}: {error}; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}") from None
    if parts.scheme != "http":
        raise UserError(f"--metrics-url {url}: Triton serves this page over plain HTTP; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}")
    if parts.username is not None:
        raise UserError("--metrics-url: a user name and a password cannot be sent with it; leave them out")
    if not parts.hostname or not whole.isascii() or not whole.isprintable() or " " in whole:
        raise UserError(f"--metrics-url {url}: has no host; write http://HOST:{_METRICS_PORT}{_METRICS_PATH}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    query = f"?{parts.query}" if parts.query else ""
    return f"http://{host}:{port}{parts.path if parts.path not in ('', '/') else _METRICS_PATH}{query}"


def check_page(url: str, timeout_s: float = 5.0) -> None:
    """UserError when the page at `url` cannot be read, or has no metrics of a server that trtbench knows; it states what was found."""
    if fault := page_fault(url, timeout_s):
        raise UserError(f"--metrics-url {shown(url)}: {fault}; {_LEAVE_OUT}")


def page_fault(url: str, timeout_s: float = 5.0) -> str:
    """What is wrong with the page at `url`; "" for a page that trtbench can read."""
    try:
        with closing(Page(url, timeout_s)) as page:
            return _fault(page.read())
    except ConnectionRefusedError:
        return "connection refused, no program listens on this port"
    except PageError as error:
        return str(error)
    except http.client.HTTPException as error:
        return _of_http(error)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    except ValueError as error:
        return shown(str(error))


def _of_http(error: http.client.HTTPException) -> str:
    said = shown(str(error), 300)
    if " answered 401 " in said or " answered 403 " in said:
        return f"{said}: the page wants credentials, which trtbench does not send"
    if isinstance(error, http.client.BadStatusLine):
        return f"the server there does not speak HTTP/1 ({said or 'it closed the connection'})"
    return said if " answered " in said else f"the server's answer is not HTTP/1 ({said or type(error).__name__})"


def _of_iterations(text: str) -> str:
    try:
        iteration_samples(text, 0)
    except (ValueError, RecursionError):
        return "what answers there is JSON, but no list of iteration statistics as trtllm-serve has it"
    return ""


def _fault(text: str) -> str:
    """ "" for a readable page, even if it has no series yet."""
    if is_iterations(text):
        return _of_iterations(text)
    if re.match(r"\s*<(!doctype|html|head|body|\?xml)", text[:2000], re.IGNORECASE):
        return "a web page (HTML) answers there, as of a login, and no metrics"
    found = _SERIES.findall(text[:_LOOKED_AT])
    if any(name.startswith(_OURS) for name in found):
        return ""
    if found:
        return f"a page of metrics that has none of Triton, TensorRT-LLM or vLLM (its first is {shown(found[0], 80)})"
    start = shown(text[:80], 80)
    return f"what answers there is no page of metrics (it begins with {start})" if start else "the page is empty"
