"""UserError, which the user can correct, and errors of files that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """The message names the key or flag, the value and the remedy; the CLI prints it alone and exits with 2."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the block names `path`: to write or to close a file fails without saying which."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, BlockingIOError):
            raise
        said = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno or 0, said, str(path)) from error


def in_one_line(error: BaseException) -> str:
    """An OSError as `file: what is wrong`; any other error as its own message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
