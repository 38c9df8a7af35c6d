from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtbench.load.tally import Recorder
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import Outcome, RequestRecord

pytestmark = pytest.mark.timeout(30)


def record(index: int) -> RequestRecord:
    return RequestRecord(
        index=index, stage="c1", warmup=False, prompt=0, input_tokens=1, asked_output_tokens=1, due_ns=1, outcome=Outcome.COMPLETED
    )


def test_everything_is_on_file_in_order_after_close(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "requests.jsonl")
    for index in range(500):
        recorder.append(record(index))
    recorder.close()
    assert [RequestRecord.from_json(row) for row in read_lines(tmp_path / "requests.jsonl")] == [record(index) for index in range(500)]


@pytest.mark.process
def test_a_kill_loses_at_most_what_came_last(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from trtbench.load.tally import Recorder; from trtbench.rundir.records import RequestRecord\n"
        "recorder = Recorder(Path(sys.argv[1]))\n"
        "for i in range(50): recorder.append(RequestRecord(i, 'c1', False, 0, 1, 1, 1))\n"
        "time.sleep(0.6); print('appended', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout and process.stdout.readline() == "appended\n"
        process.kill()
    assert len(list(read_lines(path))) == 50


def test_a_full_disk_is_not_silent() -> None:
    recorder = Recorder(Path("/dev/full"))
    recorder.append(record(0))
    deadline = time.monotonic() + 5
    with pytest.raises(OSError, match="No space left"):
        while time.monotonic() < deadline:
            recorder.append(record(1))
            time.sleep(0.01)
    with pytest.raises(OSError, match="No space left"):
        recorder.close()
