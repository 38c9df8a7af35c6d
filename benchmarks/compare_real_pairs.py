"""How often does `trtbench compare` raise a false alarm between two real runs of the same scenario on the CPU stack?

    python benchmarks/compare_real_pairs.py [--pairs 10] [--requests 2000] [--scenario FILE] [--runs DIRECTORY]

Runs the same short scenario twice for each pair, each time with a server of its own, and compares the two. Prints for each pair the
changes of P50, P99 and throughput with their 95 % intervals, which calls were made, and how the conditions `e2e_latency.p50>+5%` and
`e2e_latency.p99>+10%` ended.
No pair differs in anything: each better or worse is a false alarm, or a change of the machine. Bound: calls in at most 1 of 10 pairs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

_SCENARIO = """
name: same-again
task: embed
model: minilm-l6-v2
engines: [int8]
deployments: {base: {max_batch_size: 8, dynamic_batching: {}, inference_threads: 1}}
workload: {input_tokens: 4, languages: [en], distinct_prompts: 16}
load: [{concurrency: 2, requests: %d, warmup_requests: 100}]
"""
_METRICS = ("e2e_latency.p50", "e2e_latency.p99", "request_throughput")
_CONDITIONS = ("e2e_latency.p50>+5%", "e2e_latency.p99>+10%")


def trtbench(*arguments: str) -> int:
    command = [sys.executable, "-m", "trtbench", *arguments]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode


def run_once(scenario: Path, runs: Path) -> Path:
    """The run directory of one more run."""
    before = set(runs.iterdir())
    code = trtbench("serve-and-bench", str(scenario), "--runs", str(runs), "--quiet")
    made = [path for path in set(runs.iterdir()) - before if path.is_dir()]
    assert code in (0, 4) and len(made) == 1, f"serve-and-bench ended with {code}"
    return made[0]


def compared(base: Path, candidate: Path, file: Path) -> dict[str, Any]:
    flags = [word for name in _METRICS for word in ("--metric", name)] + [word for one in _CONDITIONS for word in ("--fail-on", one)]
    code = trtbench("compare", str(base), str(candidate), *flags, "--force", "--json", str(file))
    assert code in (0, 5, 6), f"compare ended with {code}"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def shown(one: dict[str, Any]) -> str:
    low, high = one["change_interval"] or (float("nan"), float("nan"))
    return f"{100 * one['change_ratio']:+.1f}% [{100 * low:+.1f}, {100 * high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    calls: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        scenario = given.scenario or Path(temporary) / "same-again.yaml"
        if not given.scenario:
            scenario.write_text(_SCENARIO % given.requests)
        print(f"| pair | {' | '.join(_METRICS)} | calls | {' | '.join(_CONDITIONS)} | verdicts |")
        print(f"| ---: |{' --- |' * (len(_METRICS) + len(_CONDITIONS) + 2)}")
        for number in range(1, given.pairs + 1):
            base, candidate = run_once(scenario, runs), run_once(scenario, runs)
            found = compared(base, candidate, Path(temporary) / "compared.json")
            differences = found["candidates"][0]["differences"]
            made = [one["metric"] for one in differences if one["call"] in ("better", "worse")]
            calls["pairs"] += bool(made)
            calls.update(gate["outcome"] for gate in found["gates"])
            verdicts = f"{found['base']['verdict']}, {found['candidates'][0]['verdict']}"
            cells = [shown(one) for one in differences if one["metric"] in _METRICS]
            outcomes = [gate["outcome"] for gate in found["gates"]]
            print(f"| {number} | {' | '.join([*cells, ', '.join(made) or 'none', *outcomes, verdicts])} |", flush=True)
    print(f"\n{calls['pairs']} of {given.pairs} pairs with a call (bound: 1 of 10); conditions failed: {calls['failed']}")


if __name__ == "__main__":
    main()
