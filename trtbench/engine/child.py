"""Build steps run in a child process: its memory goes when it ends, and nothing it imports stays in ours."""

from __future__ import annotations

import os
import subprocess
import sys

from trtbench.engine.spec import EngineError

_LAST_LINES = 12


def run_module(module: str, *arguments: str) -> None:
    """Run `python -m module arguments`; EngineError with the last lines it printed when it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        raise EngineError(f"{module} failed (exit code {done.returncode}):\n  {tail}")
