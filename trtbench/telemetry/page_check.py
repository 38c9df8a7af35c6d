"""A look at the metrics page before the load: whether there is one, and whether it is one that can be read."""

from __future__ import annotations

import http.client
import re
from contextlib import closing

from trtbench.errors import UserError
from trtbench.system.foreign_text import shown
from trtbench.telemetry.page import Page, PageError
from trtbench.telemetry.serve_stats import is_iterations, iteration_samples

_LOOKED_AT = 8 << 20
_OURS = ("nv_", "trtllm_", "trtbench_")
_SERIES = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{[^\n]*\})? +\S+", re.MULTILINE)
_LEAVE_OUT = "correct --metrics-url (Triton's page is http://HOST:8002/metrics), or leave it out: engine gauges are then missing"


def check_page(url: str, timeout_s: float = 5.0) -> None:
    """UserError when the page at `url` cannot be read, or is none of Triton's or trtllm-serve's; it says what was found."""
    try:
        with closing(Page(url, timeout_s)) as page:
            fault = _fault(page.read())
    except ConnectionRefusedError:
        fault = "connection refused, no program listens on this port"
    except PageError as error:
        fault = str(error)
    except http.client.HTTPException as error:
        fault = _of_http(error)
    except TimeoutError:
        fault = f"no answer within {timeout_s:g} s"
    except OSError as error:
        fault = error.strerror or str(error) or type(error).__name__
    except ValueError as error:
        fault = shown(str(error))
    if fault:
        raise UserError(f"--metrics-url {shown(url)}: {fault}; {_LEAVE_OUT}")


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
    """ "" for a page that can be read, though it may have nothing yet."""
    if is_iterations(text):
        return _of_iterations(text)
    if re.match(r"\s*<(!doctype|html|head|body|\?xml)", text[:2000], re.IGNORECASE):
        return "a web page (HTML) answers there, as of a login, and no metrics"
    found = _SERIES.findall(text[:_LOOKED_AT])
    if any(name.startswith(_OURS) for name in found):
        return ""
    if found:
        return f"a page of metrics that has none of Triton or TensorRT-LLM (its first is {shown(found[0], 80)})"
    start = shown(text[:80], 80)
    return f"what answers there is no page of metrics (it begins with {start})" if start else "the page is empty"
