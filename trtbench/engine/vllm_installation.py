"""Finds vLLM: the command on PATH, or the environment that scripts/setup_vllm.sh makes in a checkout."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from trtbench.errors import UserError

_OF_CHECKOUT = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "vllm"
_UNKNOWN = "of unknown version"


class VllmMissing(UserError):
    """There is no vLLM on this machine; the message has the remedy."""


@dataclass(frozen=True)
class VllmInstallation:
    """`version` is that of the package, such as 0.32.0+cpu; only a running server reports it with certainty."""

    program: Path
    version: str

    @property
    def computes_on_cpu(self) -> bool:
        return self.version.endswith("cpu")


def find_vllm() -> VllmInstallation:
    """The installation to serve with; VllmMissing if there is none."""
    on_path = shutil.which("vllm")
    program = Path(on_path) if on_path else _OF_CHECKOUT
    if not program.is_file():
        raise VllmMissing("no vLLM: `vllm` is not on PATH; scripts/setup_vllm.sh installs its CPU build in the checkout, pip its GPU build")
    return VllmInstallation(program, _version(program))


def _version(program: Path) -> str:
    """The version by the package's directory in the environment of the command."""
    environment = program.resolve().parent.parent
    found = [match[1] for path in environment.glob("lib/python3*/*-packages/vllm-*.dist-info") if (match := _NAME.fullmatch(path.name))]
    return max(found, key=len, default=_UNKNOWN)


_NAME = re.compile(r"vllm-([0-9][0-9A-Za-z.+!_-]*)\.dist-info")
