"""Build steps run in a child process: its memory goes when it ends, and nothing it imports stays in ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from trtbench.engine.spec import EngineError

_LAST_LINES = 12
_QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}


def run_module(module: str, *arguments: str) -> None:
    """Run `python -m module arguments`; EngineError with the last lines it printed when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | _QUIET,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise EngineError(f"{module} failed (exit code {done.returncode}):\n  {_tail(done.stdout)}")


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run `command`, its output appended to `log` as it comes; EngineError with its last lines when it fails.

    If we are interrupted, all it started ends with it: a worker that stays would keep the GPU's memory.
    """
    with log.open("ab") as output:
        code = _run_group(command, output)
    if code:
        text = log.read_text(encoding="utf-8", errors="replace")
        program = " ".join(Path(word).name for word in command[:3])
        raise EngineError(f"{program} failed (exit code {code}); all it printed is in {log}:\n  {_tail(text)}")


def _run_group(command: Sequence[str], output: IO[bytes]) -> int:
    child = subprocess.Popen(
        command, env=os.environ | _QUIET, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        return child.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise


def _tail(output: str) -> str:
    return "\n  ".join(output.strip().splitlines()[-_LAST_LINES:])
