"""Blocks that a whole run does not give back, planted in its last readings."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.support.runs.synthetic_run import SyntheticRun, write_synthetic_run
from trtbench.analysis.summary import summarise
from trtbench.rundir.directory import RunDirectory

pytestmark = pytest.mark.whole_run

LEAKY = "default-fp16"
INTERVAL_NS = 250_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return write_synthetic_run(tmp_path_factory.mktemp("leak") / "run")


def blocks_left(run: SyntheticRun, *, leak: int, last_after_ns: int) -> tuple[int | None, list[str]]:
    """With the last reading moved to `last_after_ns` after the last request was done, and `leak` blocks in it."""
    path = run.run.path / LEAKY / "samples.parquet"
    original = path.read_bytes()
    table = pq.read_table(path)
    last_ns = pc.max(table["time_ns"]).as_py()
    done_ns = max(r.done_ns or 0 for r in run.requests[LEAKY])
    is_last = pc.equal(table["time_ns"], last_ns)
    is_used = pc.and_(is_last, pc.equal(table["name"], "kv_blocks_used"))
    table = table.set_column(
        table.schema.get_field_index("value"), "value", pc.if_else(is_used, pa.scalar(float(leak)), table["value"])
    ).set_column(
        table.schema.get_field_index("time_ns"), "time_ns", pc.if_else(is_last, pa.scalar(done_ns + last_after_ns), table["time_ns"])
    )
    pq.write_table(table, path)
    try:
        summary = summarise(RunDirectory.open(Path(run.run.path)))
    finally:
        path.write_bytes(original)
    codes = [finding.code for finding in summary.findings if finding.deployment == LEAKY and finding.code == "kv_blocks_leaked"]
    return summary.deployments[0].kv_blocks_left, codes


def test_a_planted_leak_is_found(run: SyntheticRun) -> None:
    assert blocks_left(run, leak=3, last_after_ns=2 * INTERVAL_NS) == (3, ["kv_blocks_leaked"])


def test_no_leak_none_found(run: SyntheticRun) -> None:
    assert blocks_left(run, leak=0, last_after_ns=2 * INTERVAL_NS) == (0, [])


def test_without_a_reading_after_the_margin_nothing_is_known(run: SyntheticRun) -> None:
    assert blocks_left(run, leak=3, last_after_ns=2 * INTERVAL_NS - 1) == (None, [])
