"""How often does `trtbench compare` raise a false alarm, and how often does it find a slowdown of 10 %?

    python benchmarks/compare_power.py [--pairs 200] [--requests 1000,2000,4000] [--users 8] [--slowdown 10] [--kinds ...]

Simulates pairs of stages in a closed loop: log-normal latencies with a spread of 25 %, of which a share depends on the neighbours (AR(1)
in the order of requests). `alike`: independent; `queue`: half of the variance depends on about 5 neighbours; `bursts`: 30 % of it on about
50. Pairs without a slowdown show false alarms: the share of pairs with any call, over all metrics (bound: 5 %), and with a failed
condition `ttft.p99>+0%`. Pairs with a slowdown of every latency show how often each metric is called worse, and how often the condition
`>+5%` fails. Seeds are fixed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.analysis.named_figures import NamedFigure, named_figures
from trtbench.analysis.stats.percentile import PERMILLES, nearest_rank
from trtbench.compare.compared_metric import better_direction
from trtbench.compare.decision import decide
from trtbench.compare.difference import Difference
from trtbench.compare.gate import read_gate
from trtbench.compare.interval import of_change
from trtbench.compare.request_values import StageRequests
from trtbench.rundir.lines import Losses
from trtbench.rundir.records import Outcome
from trtbench.rundir.request_file import RequestFile
from trtbench.rundir.requests import Requests, Texts
from trtbench.scenario.load.measurement import Slo

_LATENCY_NS, _SPREAD, _TOKENS = 500_000_000, 0.25, 16
KINDS: Mapping[str, tuple[float, float]] = {"alike": (0.0, 0.0), "queue": (0.5, 0.8), "bursts": (0.3, 0.98)}
"""The share of the variance that depends on neighbours, and by how much a request depends on the one before."""
METRICS = ("ttft.p50", "ttft.p99", "tpot.p50", "e2e_latency.p50", "e2e_latency.p99", "output_token_throughput")
_THRESHOLD_RATIO = 0.02


def stage(count: int, users: int, kind: str, slowdown: float, random: np.random.Generator) -> Requests:
    """Requests of a stage in a closed loop."""
    share, dependence = KINDS[kind]
    noise, own, first = random.normal(size=count), random.normal(size=count), random.normal(size=count)
    shared = np.empty(count)
    shared[0] = noise[0]
    for i in range(1, count):
        shared[i] = dependence * shared[i - 1] + (1 - dependence**2) ** 0.5 * noise[i]
    common = _SPREAD * ((1 - share) ** 0.5 * own + share**0.5 * shared)
    latency = (_LATENCY_NS * (1 + slowdown) * np.exp(common)).astype(np.int64)
    ttft = (latency * 0.2 * np.exp(0.1 * first)).astype(np.int64)
    due, free = np.empty(count, np.int64), np.zeros(users, np.int64)
    for i, took in enumerate(latency.tolist()):
        user = int(free.argmin())
        due[i] = free[user]
        free[user] += took
    times = {"due_ns": due, "done_ns": due + latency, "first_token_ns": due + ttft, "last_token_ns": due + latency}
    counts = {name: np.full(count, _TOKENS) for name in ("responses", "output_tokens", "input_tokens")}
    outcomes = tuple(outcome.value for outcome in Outcome)
    completed = np.full(count, outcomes.index(Outcome.COMPLETED.value), np.int32)
    file = RequestFile.of_rows((), Path("simulated"), Losses(Path()))
    return Requests({"index": np.arange(count), **times, **counts}, {"outcome": Texts(completed, outcomes)}, file)


def value(metric: NamedFigure, requests: Requests) -> float:
    """The metric by its definition."""
    due, done = requests.due_ns, requests.done_ns
    if metric.permille is None:
        return float(requests.output_tokens.sum() / (done.max() - due.min()) * 1e9)
    of = {"ttft": requests.first_token_ns - due, "tpot": (done - requests.first_token_ns) / (_TOKENS - 1), "e2e_latency": done - due}
    return nearest_rank(np.sort(of[metric.metric.name]), PERMILLES[metric.part])


def pair(number: int, count: int, users: int, kind: str, slowdown: float) -> Iterator[Difference]:
    """The differences of one pair of stages."""
    random = np.random.default_rng([number, count, users, len(kind)])
    base, candidate = (stage(count, users, kind, slow, random) for slow in (0.0, slowdown))
    sides = [StageRequests(one, count, None, Slo()) for one in (base, candidate)]
    for name in METRICS:
        metric = named_figures()[name]
        if sides[0].lacking(metric):
            continue
        values = value(metric, base), value(metric, candidate)
        drawn = [side.bootstrap(metric, one, f"{number} {i}") for i, (side, one) in enumerate(zip(sides, values, strict=True))]
        assert drawn[0] and drawn[1]
        yield Difference("simulated", "default", f"c{users}", metric, *values, of_change(drawn[0], drawn[1]), requests=count)


def shares(pairs: int, count: int, users: int, kind: str, slowdown: float) -> dict[str, float]:
    """The share of pairs with any call, with each metric called worse, and with each failed or undecided condition."""
    seen: Counter[str] = Counter()
    zero = [read_gate("ttft.p99>+0%" if count >= 1000 else "ttft.p50>+0%")]
    for number in range(pairs):
        found = list(pair(number, count, users, kind, slowdown))
        calls = {one.metric.name: one.call(_THRESHOLD_RATIO if slowdown else 0.0, len(found)) for one in found}
        seen["any"] += any(call in ("better", "worse") for call in calls.values())
        seen.update(name for name, call in calls.items() if call == "worse")
        seen["zero"] += decide(zero, found)[0].outcome == "failed"
        for one in found:
            if better_direction(one.metric) == "lower":
                seen[f"{one.metric.name}>+5%"] += decide([read_gate(f"{one.metric.name}>+5%")], [one])[0].outcome == "failed"
    return {name: times / pairs for name, times in seen.items()}


def table(rows: Sequence[Sequence[Any]]) -> None:
    for row in rows:
        print("| " + " | ".join(f"{100 * cell:.1f}%" if isinstance(cell, float) else str(cell) for cell in row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--requests", default="1000,2000,4000")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--slowdown", type=float, default=10)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    counts, kinds = [int(count) for count in given.requests.split(",")], given.kinds.split(",")
    print(f"false alarms of {given.pairs} pairs (bound 5%)")
    table([("latencies", "requests", "any call", "condition >+0%"), ("---", "---:", "---:", "---:")])
    for kind in kinds:
        for count in counts:
            found = shares(given.pairs, count, given.users, kind, 0.0)
            table([(kind, count, found.get("any", 0.0), found.get("zero", 0.0))])
    print(f"\na slowdown of {given.slowdown:g}%: called worse, and in brackets: condition >+5% failed")
    table([("latencies", "requests", *METRICS), ("---", "---:", *("---:" for _ in METRICS))])
    for kind in kinds:
        for count in counts:
            found = shares(given.pairs, count, given.users, kind, given.slowdown / 100)
            cells = [f"{100 * found.get(name, 0.0):.0f}% ({100 * found.get(f'{name}>+5%', 0.0):.0f}%)" for name in METRICS]
            table([(kind, count, *cells)])


if __name__ == "__main__":
    main()
