"""What happened to a GPU, planted in the samples of a run that is otherwise well, and the sentence that its reader gets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.stage.resources import THROTTLES
from trtbench.analysis.summary import summarise
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.resource_tables import gpu_blocks
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory

pytestmark = pytest.mark.whole_run

DEPLOYMENT = "default-fp16"
CAUSES: dict[str, tuple[str, float, str, str, str]] = {
    "heat, driver": ("gpu_throttle_reasons", 0x20, "SUSPECT", "because of its temperature (by the driver)", "因过热由驱动降频"),
    "heat, hardware": ("gpu_throttle_reasons", 0x40, "SUSPECT", "because of its temperature (by the hardware)", "因过热由硬件降频"),
    "heat, hardware, with the slowdown that it is": (
        "gpu_throttle_reasons",
        0x48,
        "SUSPECT",
        "temperature (by the hardware)",
        "因过热由硬件降频",
    ),
    "power brake": ("gpu_throttle_reasons", 0x80, "SUSPECT", "slowed down from outside (power brake)", "被外部功率制动降速"),
    "slowdown without a cause": ("gpu_throttle_reasons", 0x8, "SUSPECT", "slowed down by its hardware", "被硬件降速"),
    "power cap": ("gpu_throttle_reasons", 0x4, "VALID", "at its power cap", "达到功率上限"),
    "ECC": ("gpu_ecc_uncorrected", 2, "INVALID", "had 2 uncorrected memory error(s) (ECC)", "出现 2 个不可纠正的显存错误（ECC）"),
    "XID of a program": ("gpu_xid", 13, "SUSPECT", "1 error(s) of GPU 0, XID 13", "1 个错误，XID 13"),
    "XID of the hardware": ("gpu_xid", 79, "INVALID", "1 error(s) of GPU 0, XID 79", "1 个错误，XID 79"),
    "lost": ("gpu_lost", 1, "INVALID", "was lost (fallen off the bus)", "丢失（从总线脱落）"),
    "shared": ("gpu_other_processes", 3, "SUSPECT", "Up to 3 other process(es) used GPU 0", "最多有 3 个其他进程使用 GPU 0"),
}
"""Cause: series, value, status of the verdict, what the sentence says in English and in Chinese."""


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("well") / "run"
    write_synthetic_run(path, gpu=True)
    return path


def plant(run: Path, series: str, value: float) -> None:
    """In all readings of a series that is there; else a reading of 0 at the first one's time, and `value` from the middle on."""
    path = run / DEPLOYMENT / "samples.parquet"
    rows = pq.read_table(path).to_pylist()
    there = [row for row in rows if row["name"] == series]
    for row in there:
        row["value"] = value
    if not there:
        times = sorted({row["time_ns"] for row in rows})
        before = [] if series in ("gpu_xid", "gpu_lost") else [(times[0], 0.0)]
        rows += [{"time_ns": at, "name": series, "label": "0", "value": v} for at, v in [*before, (times[len(times) // 2], value)]]
    pq.write_table(pa.Table.from_pylist(sorted(rows, key=lambda row: row["time_ns"]), schema=pq.read_schema(path)), path)


def told(run: Path) -> tuple[str, dict[str, str]]:
    """The verdict's status, and its reasons by language."""
    summary = summarise(RunDirectory.open(run))
    languages: Any = ("en", "zh")
    return summary.verdict.status, {one: "\n".join(document(summary, Words(one, summary.scenario.task), ()).reasons) for one in languages}


def test_nothing_is_said_of_a_gpu_that_is_well(well: Path) -> None:
    status, reasons = told(well)
    assert status == "VALID"
    assert not [cause for cause, (*_, en, zh) in CAUSES.items() if en in reasons["en"] or zh in reasons["zh"]]


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_has_its_sentence(well: Path, tmp_path: Path, cause: str) -> None:
    series, value, status, *sentences = CAUSES[cause]
    run = tmp_path / "run"
    shutil.copytree(well, run)
    plant(run, series, value)
    found, reasons = told(run)
    assert found == status
    for language, sentence in zip(("en", "zh"), sentences, strict=True):
        assert sentence in reasons[language]
        others = {CAUSES[other][3 if language == "en" else 4] for other in CAUSES} - {sentence}
        assert not [other for other in others if other in reasons[language] and other not in sentence and sentence not in other]


def test_a_run_on_a_mig_instance(well: Path, tmp_path: Path) -> None:
    """Its memory is the instance's; energy a token, the whole GPU's, is not told as if it were its own."""
    shutil.copytree(well, run := tmp_path / "run")
    path, uuid = run / DEPLOYMENT / "samples.parquet", "MIG-1"
    rows = pq.read_table(path).to_pylist()
    for at in sorted({row["time_ns"] for row in rows}):
        for name, value in (("mig_memory_used_bytes", 9 * 2.0**30), ("mig_memory_bytes", 10 * 2.0**30)):
            rows.append({"time_ns": at, "name": name, "label": uuid, "value": value})
    pq.write_table(pa.Table.from_pylist(sorted(rows, key=lambda row: row["time_ns"]), schema=pq.read_schema(path)), path)
    summary = summarise(RunDirectory.open(run))
    sliced, whole = (result.stages[0] for result in summary.deployments)
    use = sliced.resources.mig_instances[uuid]
    assert (use.memory_used_bytes.max, use.memory_bytes) == (9 * 2**30, 10 * 2**30)
    assert sliced.energy_per_token_j is None and whole.energy_per_token_j and not whole.resources.mig_instances
    assert [(one.code, one.grade, one.deployment) for one in summary.verdict.reasons if one.code == "gpu_mig"] == [
        ("gpu_mig", "note", DEPLOYMENT)
    ]
    for language, caption in (("en", "memory of the MIG instances"), ("zh", "MIG 实例的显存")):
        languages: Any = language
        tables = [block for block in gpu_blocks(summary, Words(languages, summary.scenario.task)) if isinstance(block, Table)]
        (table,) = [one for one in tables if caption in one.caption]
        assert table.rows[0][1:] == (uuid, "9.00 GiB", "10.0 GiB")


def test_every_reason_of_nvmls_that_lowers_a_clock_is_planted() -> None:
    planted = {int(value) for series, value, *_ in CAUSES.values() if series == "gpu_throttle_reasons"}
    assert set(THROTTLES.values()) <= planted
