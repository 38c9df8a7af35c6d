from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trtbench.engine.child import run_logged, run_module
from trtbench.engine.spec import EngineError


def test_a_child_that_fails_is_quoted() -> None:
    with pytest.raises(EngineError, match=r"json\.tool failed \(exit code \d+\):\n(.|\n)*no-such-file"):
        run_module("json.tool", "no-such-file")


def test_a_child_that_is_no_module() -> None:
    with pytest.raises(EngineError, match="No module named"):
        run_module("no_such_module_at_all")


def test_a_child_that_succeeds_says_nothing() -> None:
    run_module("platform")


def test_all_it_printed_is_kept_and_the_end_of_it_shown(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    run_logged([sys.executable, "-c", "print('first')"], log)
    with pytest.raises(EngineError, match=r"exit code 3\); all it printed is in .*build\.log:(.|\n)*no more memory"):
        run_logged([sys.executable, "-c", "import sys; print('no more memory'); sys.exit(3)"], log)
    assert log.read_text() == "first\nno more memory\n"


INTERRUPTED = """
import sys
from pathlib import Path
from trtbench.engine.child import run_logged
script = "setsid sleep 60 & echo $! > pid.tmp; mv pid.tmp pid; wait"  # MPI's workers have a group of their own
run_logged(["sh", "-c", script], Path("log"))
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_broken_off_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stderr=subprocess.DEVNULL) as building:
        while not (tmp_path / "pid").exists():
            assert building.poll() is None
            time.sleep(0.05)
        worker = psutil.Process(int((tmp_path / "pid").read_text()))
        building.send_signal(how)
        building.wait(30)
    _, alive = psutil.wait_procs([worker], timeout=30)
    assert not alive
