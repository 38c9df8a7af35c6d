"""What does a reading of Triton's metrics page cost the sampler's process?

    python benchmarks/metrics_page.py [--url http://HOST:8002/metrics] [--models 1 50] [--rounds 5] [--seconds 1]

The page is one of Triton 2.51.0 with the engine's families, or that of a running server. Its series are repeated under other models'
names, as on a server of many models. The sampler's reader, which gives prometheus-client only the lines that are used, and
prometheus-client on the whole page take turns in a thread of one process, like a source of the sampler. Figures are CPU time.

Bound: 5 % of a core for the sampler's reader at an interval of 250 ms.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import thread_time

from prometheus_client.parser import text_string_to_metric_families

from trtbench.telemetry.exposition import engine_readings
from trtbench.telemetry.page import Page

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
INTERVAL_S = 0.25
BOUND = 0.05


def page_of(url: str | None, models: int) -> str:
    """The page with `models` times its series."""
    if url:
        page = Page(url, 5.0).read()
    else:
        page = "".join((FIXTURES / name).read_text() for name in ("metrics_triton_2.51.0.txt", "metrics_trtllm_written_by_hand.txt"))
    lines = page.splitlines()
    return "\n".join(re.sub(r'model="', f'model="{"x" * copy}', line) for line in lines for copy in range(models if '="' in line else 1))


def cost_s(read: Callable[[str], object], page: str, seconds: float) -> float:
    """CPU time of one reading."""
    start_s, readings = thread_time(), 0
    while (spent_s := thread_time() - start_s) < seconds or not readings:
        read(page)
        readings += 1
    return spent_s / readings


def sampled(page: str) -> object:
    return engine_readings(page, "tensorrt_llm")


def whole_page(page: str) -> object:
    return [series for family in text_string_to_metric_families(page) for series in family.samples]


def measure(page: str, rounds: int, seconds: float) -> tuple[float, float]:
    """Seconds of the sampler's reader and of the whole parser: medians of rounds by turns."""
    pairs = [
        (cost_s(lambda text: engine_readings(text, "tensorrt_llm"), page, seconds), cost_s(whole_page, page, seconds))
        for _ in range(rounds)
    ]
    return median(ours for ours, _ in pairs), median(whole for _, whole in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="metrics page of a running server; default: a recorded page")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of one measurement")
    arguments = parser.parse_args()
    with ThreadPoolExecutor(1) as thread:
        for models in arguments.models:
            page = page_of(arguments.url, models)
            ours_s, whole_s = thread.submit(measure, page, arguments.rounds, arguments.seconds).result()
            print(
                f"{len(page.splitlines())} lines, sampler: {ours_s * 1e3:.2f} ms, {ours_s / INTERVAL_S:.2%} of a core (bound {BOUND:.0%})"
            )
            print(f"{len(page.splitlines())} lines, whole page: {whole_s * 1e3:.2f} ms, {whole_s / INTERVAL_S:.2%} of a core")
            print(f"{len(page.splitlines())} lines, sampler / whole page: {ours_s / whole_s:.2f}")


if __name__ == "__main__":
    main()
