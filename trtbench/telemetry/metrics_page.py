"""A server's page of metrics, of any server whose families are known."""

from __future__ import annotations

from trtbench.rundir.records import Sample
from trtbench.system.clock import now_ns
from trtbench.telemetry.exposition import engine_readings
from trtbench.telemetry.page import Page, PageError
from trtbench.telemetry.serve_stats import is_iterations, iteration_samples, serve_readings
from trtbench.telemetry.vllm_page import vllm_readings

_MOST_SAMPLES = 20_000  # of one reading. An iteration has a dozen, a page of trtllm-serve up to a thousand iterations.


class MetricsPage:
    """The page of one server, the connection kept open: Triton's, vLLM's, or one of trtllm-serve's two."""

    def __init__(self, url: str, model: str, timeout_s: float, engine_model: str | None = None) -> None:
        """ValueError for an invalid `url`. `timeout_s`: longest time of one reading."""
        self._page = Page(url, timeout_s)
        self._model, self._engine_model = model, engine_model

    def read(self) -> list[Sample]:
        """One reading; OSError or http.client.HTTPException when the page cannot be read (the next reading connects again)."""
        asked_ns = now_ns()
        page = self._page.read()
        time_ns = (asked_ns + now_ns()) // 2
        samples = self._samples(page, time_ns)
        if len(samples) > _MOST_SAMPLES:
            raise PageError(f"the page has {len(samples)} series, the upper bound is {_MOST_SAMPLES}")
        return samples

    def close(self) -> None:
        self._page.close()

    def _samples(self, page: str, time_ns: int) -> list[Sample]:
        if is_iterations(page):
            return iteration_samples(page, time_ns)
        readings = engine_readings(page, self._model, self._engine_model) or serve_readings(page) or vllm_readings(page)
        return [Sample(time_ns, *reading) for reading in readings]
