"""The declared names of sampled series: each once, written by telemetry, and listed in docs/telemetry.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trtbench.rundir.series import groups, unit_of

ROOT = Path(__file__).parents[2]
NAMES = [name for names, _ in groups() for name in names]


def test_each_name_is_declared_once_with_a_source_and_a_meaning() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 80
    assert all(about.source and about.meaning for _, about in groups())


def test_every_declared_name_is_written_by_the_measuring_half() -> None:
    writers = [*(ROOT / "trtbench" / "telemetry").glob("*.py"), ROOT / "trtbench" / "load" / "worker_health.py"]
    written = set(re.findall(r'"(\w+)"', "".join(path.read_text("utf-8") for path in writers)))
    assert set(NAMES) - written == set()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("triton_queue_ns", "ns"),
        ("gpu_pcie_rx_bytes_per_s", "bytes/s"),
        ("server_rss_bytes", "bytes"),
        ("gpu_temperature_c", "°C"),
        ("server_fds", ""),
        ("foreign", ""),
        ("c", ""),
    ],
)
def test_a_name_carries_its_unit(name: str, unit: str) -> None:
    assert unit_of(name) == unit
