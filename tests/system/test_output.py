"""Commands whose standard streams break: no reader, no space, no such character, a reader that does not read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs.synthetic_run import SyntheticRun

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
ENCODINGS = [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, PLAIN, {"LANG": "", "LC_ALL": ""}]


def trtbench(*arguments: str | bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "trtbench", *arguments]
    return subprocess.run(command, **{"capture_output": True, "timeout": 50} | options)  # type: ignore[call-overload]


@pytest.mark.parametrize("variables", ENCODINGS)
def test_an_encoding_without_the_characters_shows_their_escapes(variables: dict[str, str], synthetic: SyntheticRun) -> None:
    path = str(synthetic.run.path)
    formats = "json,md" if variables is PLAIN else "json"  # a document takes seconds to draw
    done = trtbench("report", path, "--lang", "zh", "--format", formats, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if "LANG" not in variables:
        assert rb"\u" in done.stdout
    assert variables is not PLAIN or "首" in Path(path, "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("variables", [{}, *ENCODINGS])
@pytest.mark.parametrize("arguments", [(b"report", b"no\xff\xe4such"), (b"serve-and-bench", b"--set", b"purpose=\xff"), (b"\xff",)])
def test_arguments_that_are_no_text(arguments: tuple[bytes, ...], variables: dict[str, str]) -> None:
    done = trtbench(*arguments, env=os.environ | variables)
    assert done.returncode == 2
    assert done.stderr.startswith(b"trtbench: argument ")
    assert rb"\udcff" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_leaves() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = trtbench("schema", capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_device_that_is_full() -> None:
    with Path("/dev/full").open("wb") as full:
        done = trtbench("schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"trtbench: standard output cannot be written (No space left on device)\n")


@pytest.mark.parametrize("closed", ["<&- >&-", "<&- >&- 2>&-", "2>&-"])
def test_closed_streams(closed: str, synthetic: SyntheticRun) -> None:
    command = f'"$0" -m trtbench report "$1" --format json {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, str(synthetic.run.path)], capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_that_does_not_read_holds_up_no_signal(signum: signal.Signals) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with subprocess.Popen([sys.executable, "-m", "trtbench", "schema"], stdout=writing, stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signum)
        assert process.wait(20) == 128 + signum
        assert process.stderr and process.stderr.read().startswith(b"trtbench: interrupted by SIG")
    os.close(reading)
    os.close(writing)
