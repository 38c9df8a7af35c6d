"""The reader of files that users provide: JSON lines, JSON arrays, and objects with a `data` array, in bounded memory.

Files are UTF-8, with or without a byte order mark. A row has at most `MOST_ROW_BYTES`; a file with a longer line is refused there.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from trtbench.errors import UserError

MOST_ROW_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20
_NEAR_END = 16  # characters: the decoder reports JSON that is cut off this close to its end, unless a string is not closed
_CONVERT = "convert it to JSON lines in UTF-8"
_OTHERS = {
    b"\xff\xfe\0\0": f"UTF-32 text: {_CONVERT}",
    b"\0\0\xfe\xff": f"UTF-32 text: {_CONVERT}",
    b"\xff\xfe": f"UTF-16 text: {_CONVERT}",
    b"\xfe\xff": f"UTF-16 text: {_CONVERT}",
    b"PAR1": f"a Parquet file: {_CONVERT}",
    b"ARROW1": f"an Arrow file: {_CONVERT}",
    b"\x1f\x8b": f"a gzip file: unpack it, or {_CONVERT}",
    b"PK\x03\x04": f"a zip file: unpack it, or {_CONVERT}",
    b"BZh": f"a bzip2 file: unpack it, or {_CONVERT}",
    b"\xfd7zXZ": f"an xz file: unpack it, or {_CONVERT}",
    b"(\xb5/\xfd": f"a zstd file: unpack it, or {_CONVERT}",
    b"SQLite format 3": f"an SQLite database: {_CONVERT}",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: download that (git lfs pull)",
    b"<": "HTML or XML, perhaps a sign-in page in place of the file: download it again",
}
_TABLE = re.compile(rb"\s*[\w .\"-]+([,;\t])[\w .\"-]+(\1[\w .\"-]+)*\s*")
"""The first line of a table as text (CSV): the names of its columns. A line of JSON has a brace, a bracket or a colon there."""
_MOST_START_BYTES = 4096


class InputFileError(UserError):
    """A file cannot be read. The message names the file, the line or row, and the remedy."""


class Row(NamedTuple):
    """One value of a file. `where` names the file and its line, or its position in the array, for messages."""

    where: str
    value: Any


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file: its lines, the items of its array, or those of the array `data` of its object. InputFileError if it cannot be
    read or is not JSON."""
    try:
        with path.open("rb") as file:
            start = file.read(_MOST_START_BYTES)
            file.seek(0)
            if other := _other_format(start):
                raise InputFileError(f"{path} is {other}")
            if start.startswith(codecs.BOM_UTF8):
                file.seek(len(codecs.BOM_UTF8))
            yield from _items(path, file) if _first_byte(file) == b"[" else _objects(path, file)
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({_why(error)}): give a file of JSON lines") from error


def read_lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """(Number, text) of every line that is not blank. InputFileError if the file cannot be read or is not UTF-8."""
    try:
        with path.open("rb") as file:
            yield from _lines(path, file)
    except OSError as error:
        raise InputFileError(f"{path} cannot be read ({_why(error)}): give a text file") from error


def shown(value: Any, most: int = 60) -> str:
    """A value as JSON for a message, cut to `most` characters."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return "a value too large to show"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def parsed(text: str) -> Any:
    """The value of a JSON text; ValueError with a short reason if it is invalid, nested too deep, or has an extremely long number."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError:
        raise ValueError("a number of thousands of digits") from None


def _why(error: OSError) -> str:
    """The system's text of an error. Reading a pipe again, such as `<(...)` of a shell, raises an OSError without one."""
    return error.strerror or "a pipe, and it is read more than once"


def _other_format(start: bytes) -> str:
    """What the file is and what to do, if its first bytes show another format than JSON; else an empty text."""
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            return what
    line = start.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0]
    table = (
        "a table in text (CSV): write a JSON object a line; a column of lengths alone is read by input_tokens: {file, key} of a scenario"
    )
    return table if _TABLE.fullmatch(line) else ""


def _first_byte(file: BinaryIO) -> bytes:
    """The first byte that is not white space. The position in the file does not change."""
    at = file.tell()
    while (byte := file.read(1)).isspace():
        pass
    file.seek(at)
    return byte


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MOST_ROW_BYTES + 1):
        number += 1
        if len(line) > MOST_ROW_BYTES:
            raise InputFileError(f"{path}:{number}: a line of over {MOST_ROW_BYTES >> 20} MiB, which is the upper bound: shorten it")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputFileError(f"{path}:{number}: not UTF-8 ({error.reason}): save the file in UTF-8") from error
        if text.strip():
            yield number, text


def _objects(path: Path, file: BinaryIO) -> Iterator[Row]:
    """The rows of JSON lines, or of one object over several lines, or of its `data` array, as perf_analyzer and aiperf write them."""
    start = file.tell()
    for number, text in _lines(path, file):
        where = f"{path}:{number}"
        try:
            row = parsed(text)
        except ValueError as error:
            whole = _whole(file, start) if number == 1 or not text.startswith(("{", "[")) else None
            if whole is None:
                why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise InputFileError(f"{where}: not JSON ({why}); write one object a line") from error
            yield from _data(path, f"{path}", whole)
            return
        yield from _data(path, where, row)


def _data(path: Path, where: str, row: Any) -> Iterator[Row]:
    if isinstance(row, dict) and isinstance(row.get("data"), list):
        for number, item in enumerate(row["data"], 1):
            yield Row(f"{path}, data row {number}", item)
    else:
        yield Row(where, row)


def _whole(file: BinaryIO, start: int) -> Any:
    """The object that makes up the whole file, or None if it is anything else."""
    file.seek(start)
    data = file.read(MOST_ROW_BYTES + 1)
    try:
        return parsed(data.decode()) if len(data) <= MOST_ROW_BYTES else None
    except ValueError:
        return None


def _items(path: Path, file: BinaryIO) -> Iterator[Row]:
    """The items of one array, decoded one at a time."""
    text = _Text(path, file)
    text.take("[")
    number = 0
    while not text.next_is("]"):
        if number:
            text.take(",")
        number += 1
        yield Row(f"{path}, row {number}", text.value())


class _Text:
    """The characters of a JSON file, of which only the part that is being decoded is in memory."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def next_is(self, character: str) -> bool:
        self._skip_space()
        return self._buffer[self._at : self._at + 1] == character

    def take(self, character: str) -> None:
        if not self.next_is(character):
            self._refuse(f"{character} is missing")
        self._at += 1

    def value(self) -> Any:
        """The next JSON value. The end of a number is known only when the character after it has been read."""
        self._skip_space()
        size = _CHUNK_BYTES
        while True:
            try:
                value, end = self._scan(self._buffer, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._buffer) - _NEAR_END or error.msg.startswith("Unterminated string")
                if self._ended or not cut:
                    self._refuse(error.msg, error.pos)
            except RecursionError:
                self._refuse("nested too deep")
            except ValueError:
                self._refuse("a number of thousands of digits")
            else:
                if end < len(self._buffer) or self._ended:
                    self._line += self._buffer.count("\n", self._at, end)
                    self._at = end
                    return value
            if len(self._buffer) - self._at > MOST_ROW_BYTES:
                self._refuse(f"a row of over {MOST_ROW_BYTES >> 20} MiB, which is the upper bound", self._at)
            self._more(size)
            size *= 2

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in " \t\r\n":
                self._line += self._buffer[self._at] == "\n"
                self._at += 1
            if self._at < len(self._buffer) or self._ended:
                return
            self._more(_CHUNK_BYTES)

    def _more(self, size: int) -> None:
        data = self._file.read(size)
        self._ended = not data
        try:
            self._buffer = self._buffer[self._at :] + self._decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise InputFileError(f"{self._path}: not UTF-8 ({error.reason}): save the file in UTF-8") from error
        self._at = 0

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        line = self._line + self._buffer.count("\n", self._at, self._at if at is None else at)
        raise InputFileError(f"{self._path}:{line}: not JSON ({why}); correct the file, or download it again")
