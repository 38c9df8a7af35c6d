"""The benchmarks that need nothing but the replay server run to their end and print their figures; what the figures are is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.process
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("stamp_error.py --seconds 2", "0 failed"),
        ("scale.py --streams 20 --workers 2 --tokens 2 --gap-ms 10", "20 requests on 20 streams over 2 workers: 0 failed"),
        ("soak.py --minutes 0.03 --streams 4", "0 requests failed"),
        ("metrics_page.py --models 1 --rounds 1 --seconds 0.05", "sampler / whole page"),
        ("gpu_sampler.py --seconds 1", "readings, 0 failed"),
        ("compare_power.py --pairs 2 --requests 300 --kinds queue", "a slowdown of 10%"),
        ("report_scale.py --sizes 200,400 --tokens 5 --seal 100", "400 requests of 5 tokens"),
    ],
)
def test_it_runs(command: str, expected: str) -> None:
    script, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments], capture_output=True, text=True, timeout=80, check=False
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "bound" in done.stdout
