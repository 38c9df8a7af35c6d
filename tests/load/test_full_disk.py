"""A disk that fills: one line names the file, no traceback, and what was measured is there to read. A limit on the size of files stands
for the disk."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.fake_servers import FakeServer
from tests.support.runs.synthetic_run import SyntheticRun
from trtbench.errors import in_one_line
from trtbench.rundir.lines import LineWriter, Losses, read_lines, write_json

pytestmark = pytest.mark.timeout(90)


_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""The process limits itself: a `preexec_fn` would make `subprocess` fork, which gRPC's threads in this one do not take."""


def limited(file_bytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`trtbench` that can write no file longer than this."""
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(file_bytes), "-m", "trtbench", *arguments],
        capture_output=True,
        text=True,
        timeout=80,
    )


def bench(file_bytes: int, server: FakeServer, runs: Path, *load: str) -> subprocess.CompletedProcess[str]:
    where = ("--url", server.url, "--model", "tensorrt_llm", "--vocab-size", "1000", "--artifact-dir", str(runs))
    return limited(file_bytes, "bench", *where, "--concurrency", "1", *load)


def test_before_anything_is_measured(fake_server: FakeServer, tmp_path: Path) -> None:
    done = bench(500, fake_server, tmp_path / "runs", "--request-count", "3")
    assert done.returncode == 2
    assert "scenario.yaml: File too large: free space, or choose another directory" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "runs").iterdir())


def test_while_it_is_measured(fake_server: FakeServer, tmp_path: Path) -> None:
    done = bench(12_000, fake_server, tmp_path / "runs", "--request-count", "20", "--isl", "5", "--osl", "120")
    assert done.returncode == 1
    assert "/tensorrt_llm/requests" in done.stderr  # the records themselves, or the table that would replace them
    assert ": File too large\nWhat was recorded until then" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert limited(1 << 30, "report", str(run), "--format", "json").returncode == 0


@pytest.mark.process
@pytest.mark.parametrize("formats", ["json", "md,html"])
def test_while_it_is_reported(formats: str, synthetic: SyntheticRun) -> None:
    done = limited(4_000, "report", str(synthetic.run.path), "--format", formats)
    assert done.returncode == 1
    name = "summary.json" if formats == "json" else "report.md"
    assert done.stderr == f"trtbench: {synthetic.run.path / name}: File too large\n"
    assert not list(synthetic.run.path.glob("*.tmp"))


def test_a_line_that_was_cut_is_not_continued_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    writer = LineWriter(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
        writer.write([1])
        with pytest.raises(OSError, match="File too large") as error:
            writer.write(["a" * 40])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert in_one_line(error.value) == f"{path}: File too large"
    writer.write([2])
    assert list(read_lines(path, Losses(tmp_path))) == [[1], [2]]


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
        with pytest.raises(OSError, match="File too large"):
            write_json(tmp_path / "facts.json", ["a" * 40])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
