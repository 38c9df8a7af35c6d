"""Files and directories that flags name: looked at before a server is asked or a directory is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtbench.errors import UserError

_FILES = {"input_file": "--input-file", "tls_ca": "--tls-ca", "tls_cert": "--tls-cert", "tls_key": "--tls-key"}
_TOKENIZER = "tokenizer.json"


def check_files(flags: Mapping[str, Any]) -> None:
    """UserError naming the flag of `trtbench bench` whose file cannot be read or whose directory cannot be made."""
    for name, flag in _FILES.items():
        if flags[name] is not None:
            check_readable(flag, flags[name])
    if flags["tokenizer"] is not None:
        _check_tokenizer(flags["tokenizer"])
    check_can_hold("--artifact-dir", flags["artifact_dir"])


def check_readable(flag: str, path: Path) -> None:
    """UserError when `path` is not a file that can be opened."""
    if path.is_dir():
        raise UserError(f"{flag} {path}: is a directory; give a file")
    if path.is_char_device() or path.is_block_device():
        raise UserError(f"{flag} {path}: is a device; give a file")
    if path.is_fifo():
        return  # of a shell's <(...): opening it would take from it
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be read ({error.strerror}); give a file that can") from None


def check_can_hold(flag: str, directory: Path) -> None:
    """UserError when `directory` cannot be made or written to, as far as that shows without making it."""
    absolute = directory.absolute()
    nearest = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise UserError(f"{flag} {directory} cannot be written to ({nearest} is not a directory): choose another directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {directory} cannot be written to (no permission for {nearest}): choose another directory")


def check_can_write(flag: str, path: Path) -> None:
    """UserError when a file cannot be written at `path`."""
    if path.is_dir():
        raise UserError(f"{flag} {path}: is a directory; give a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"{flag} {path}: cannot be written to; choose another file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{flag} {path}: there is no directory {path.parent}; make it, or choose another file")
    check_can_hold(flag, path.absolute().parent)


def _check_tokenizer(directory: Path) -> None:
    if not directory.is_dir():
        raise UserError(
            f"--tokenizer {directory}: is not a directory; give one with {_TOKENIZER}, as a download of the model's checkpoint has"
        )
    if not (directory / _TOKENIZER).is_file():
        raise UserError(f"--tokenizer {directory}: {_TOKENIZER}: no such file; give a directory that has it, or leave the flag out")
