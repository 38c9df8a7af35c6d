from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trtbench.engine.child import environment, run_logged, run_module, scratch_beside
from trtbench.engine.spec import BUILDING, EngineError
from trtbench.system.leftovers import owner

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def test_a_child_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"json\.tool failed \(exit code \d+\):\n(.|\n)*no-such-file"):
        run_module("json.tool", "no-such-file", scratch=tmp_path)


def test_a_child_that_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No module named"):
        run_module("no_such_module_at_all", scratch=tmp_path)


def test_a_child_that_succeeds_says_nothing(tmp_path: Path) -> None:
    run_module("platform", scratch=tmp_path)


def test_all_it_printed_is_kept_and_the_end_of_it_shown(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    run_logged([sys.executable, "-c", "print('first')"], log, tmp_path)
    with pytest.raises(EngineError, match=r"exit code 3\); all it printed is in .*build\.log:(.|\n)*no more memory"):
        run_logged([sys.executable, "-c", "import sys; print('no more memory'); sys.exit(3)"], log, tmp_path)
    assert log.read_text() == "first\nno more memory\n"


def test_what_a_child_writes_into_its_working_directory_goes_with_the_scratch_directory(tmp_path: Path) -> None:
    output, log = tmp_path / ".building-1-engine", tmp_path / "build.log"
    with scratch_beside(output) as scratch:
        assert scratch.parent == tmp_path and scratch.name.startswith(f"{BUILDING}{owner()}-")
        run_logged([sys.executable, "-c", "open('model.cache', 'w')"], log, scratch)
        assert (scratch / "model.cache").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["build.log"]


@pytest.mark.parametrize("asked", [None, "relative:/absolute"])
def test_a_child_elsewhere_finds_what_we_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str | None) -> None:
    """A checkout that is not installed is found by the working directory alone, and PYTHONPATH may be relative to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if asked:
        monkeypatch.setenv("PYTHONPATH", asked)
    there = [str(tmp_path / "relative"), "/absolute"] if asked else []
    assert environment(tmp_path).get("PYTHONPATH", "").split(os.pathsep) == (there or [""])
    monkeypatch.chdir(ROOT)
    assert environment(tmp_path)["PYTHONPATH"].split(os.pathsep)[-1] == str(ROOT)


def test_a_child_has_a_place_to_write_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container's user may have no home, and no /tmp; and what `datasets` copies of the calibration texts goes with the build."""
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none either"))
    scratch = str(tmp_path)
    assert environment(tmp_path).items() >= {"HOME": scratch, "TMPDIR": scratch, "HF_DATASETS_CACHE": f"{scratch}/datasets"}.items()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TMPDIR")
    found = environment(tmp_path)
    assert found["HOME"] == str(tmp_path / "home") and "TMPDIR" not in found


def test_a_childs_texts_are_utf_8_in_any_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "text").write_text("größer", encoding="utf-8")
    run_logged([sys.executable, "-c", "print(open('text').read())"], tmp_path / "log", tmp_path)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "größer\n"


def test_a_users_files_are_no_modules_of_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "platform.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run_module("platform", scratch=tmp_path / "scratch")


INTERRUPTED = """
import sys
from pathlib import Path
from trtbench.engine.child import run_logged
script = "setsid sleep 60 & echo $! > pid.tmp; mv pid.tmp pid; wait"  # MPI's workers have a group of their own
run_logged(["sh", "-c", script], Path("log"), Path())
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
