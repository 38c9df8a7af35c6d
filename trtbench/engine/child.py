"""Build steps run in a child process: its memory goes when it ends, and nothing it imports stays in ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trtbench.engine.spec import EngineError
from trtbench.guarded import Guarded

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


def run_logged(command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run `command`, its output appended to `log` as it comes; EngineError with its last lines when it fails. `variables`: of its alone.

    If we are interrupted or killed, all it started ends with it: a worker that stays would keep the GPU's memory, and MPI's leave
    their parent's process group.
    """
    child = Guarded(command, log, os.environ | _QUIET | dict(variables or {}), append=True)
    try:
        code = child.wait()
    except BaseException:
        child.stop()
        raise
    if code:
        text = log.read_text(encoding="utf-8", errors="replace")
        program = " ".join(Path(word).name for word in command[:3])
        raise EngineError(f"{program} failed (exit code {code}); all it printed is in {log}:\n  {_tail(text)}")


def _tail(output: str) -> str:
    return "\n  ".join(output.strip().splitlines()[-_LAST_LINES:])
