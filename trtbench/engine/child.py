"""Runs build steps in a child process, so that their memory is released at the end, and nothing they import stays in this process.

A step runs in a scratch directory. TensorRT-LLM writes its timing cache into the working directory and, if it cannot, fails after the
engine was built; and `python -m` imports from the working directory first, whatever it contains.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trtbench
from trtbench.engine.spec import BUILDING, EngineError
from trtbench.system.leftovers import temporary_directory
from trtbench.system.supervised import Supervised

_LAST_LINES = 12
_ALWAYS = {"PYTHONUTF8": "1"}  # checkpoints and texts are UTF-8 whatever the locale is, and some programs open files without saying so
_QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def scratch_beside(output: Path) -> Iterator[Path]:
    """A directory of one build next to its output: on the same file system, writable, and removed with the output if the build is
    killed.

    Two builds at the same time have one each, so neither reads a half-written timing cache of the other.
    """
    with temporary_directory(BUILDING, output.parent) as directory:
        yield Path(directory).absolute()


def run_module(module: str, *arguments: str, scratch: Path) -> None:
    """Run `python -m module arguments` in `scratch`; EngineError with the last lines of output if it fails. The child ends with this
    process.
    """
    log = scratch / "printed"
    if code := _run([sys.executable, "-m", module, *arguments], log, scratch, {}):
        raise EngineError(f"{module} failed (exit code {code}):\n  {_tail(log)}")


def run_logged(command: Sequence[str], log: Path, scratch: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run `command` in `scratch` and append its output to `log` as it arrives; EngineError with the last lines if it fails.

    `variables`: environment variables of this child alone.

    If this process is interrupted or killed, everything that it started ends with it. A worker that remained would keep the GPU's
    memory, and workers of MPI leave their parent's process group.
    """
    if code := _run(command, log, scratch, dict(variables or {})):
        program = " ".join(Path(word).name for word in command[:3])
        raise EngineError(f"{program} failed (exit code {code}); all it printed is in {log}:\n  {_tail(log)}")


def _run(command: Sequence[str], log: Path, scratch: Path, variables: dict[str, str]) -> int:
    child = Supervised(command, log, environment(scratch) | variables, append=True, directory=scratch)
    try:
        return child.wait()
    except BaseException:
        child.stop()
        raise


def environment(scratch: Path) -> dict[str, str]:
    """The environment of a child that runs in `scratch`: it imports what this process imports, and has places to write.

    Libraries keep caches in the home directory, and MPI its sockets in /tmp; in a container neither may be writable. The cache of the
    `datasets` library, which copies the calibration texts, belongs to this build alone.
    """
    found = dict(os.environ) | _QUIET | _ALWAYS | {"HF_DATASETS_CACHE": str(scratch / "datasets")}
    places_to_write = {"HOME": os.path.expanduser("~"), "TMPDIR": os.environ.get("TMPDIR") or "/tmp"}  # noqa: S108, PTH111 - "~" without a home
    found |= {name: str(scratch) for name, place in places_to_write.items() if not os.access(place, os.W_OK)}
    asked = found.get("PYTHONPATH")
    places = [str(Path(place).absolute()) for place in asked.split(os.pathsep)] if asked else []
    if (root := Path(trtbench.__file__).parents[1]) == Path.cwd():  # a checkout that is not installed is found by the working directory
        places.append(str(root))
    return found | ({"PYTHONPATH": os.pathsep.join(places)} if places else {})


def _tail(log: Path) -> str:
    return "\n  ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:])
