"""Data of folders: texts and pictures, an item a file, or a file of raw bytes for each tensor, as perf_analyzer reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.pictures import PICTURES, picture_item
from trtbench.plan.sources.tensors.row_size import within_memory
from trtbench.plan.sources.tensors.tensor import BYTES, Tensor, encode_strings
from trtbench.scenario.workload.tensors import Layout
from trtbench.system.foreign_text import names, shown

_MOST_FILES = 100_000
_TEXTS = frozenset({".txt"})


def read_folder(path: Path, reader: ItemReader, layout: Layout | None) -> list[Item]:
    """The items of a folder, in the order of the names of its files; WorkloadError for one with none that the model can take."""
    files = _files(path)
    if by_name := [file for file in files if file.name in reader.inputs]:
        return [_raw_item(path, by_name, [file for file in files if file.name in reader.outputs], reader)]
    kinds: tuple[tuple[frozenset[str], Callable[[Path], Item]], ...] = (
        (PICTURES, lambda file: picture_item(file, reader, layout)),
        (_TEXTS, lambda file: text_item(_content(file), str(file), reader)),
    )
    for suffixes, read in kinds:
        if found := [file for file in files if file.suffix.lower() in suffixes]:
            return within_memory(read(file) for file in found)
    raise WorkloadError(
        f"{path}: has neither pictures ({', '.join(sorted(PICTURES))}) nor texts (.txt), nor files named as the inputs "
        f"{names(reader.inputs)}: name another folder"
    )


def read_text_lines(path: Path, reader: ItemReader) -> list[Item]:
    """An item a line of a text file, without the ends of lines."""
    lines = _content(path).splitlines()
    if not lines:
        raise WorkloadError(f"{path}: is empty: give a text a line")
    return [text_item(line, f"{path}:{number}", reader) for number, line in enumerate(lines, 1)]


def text_item(text: bytes, where: str, reader: ItemReader) -> Item:
    spec = reader.only_input(where)
    if spec.datatype != BYTES:
        raise WorkloadError(f"{where}: is a text, input {shown(spec.name, 80)} is {spec.datatype}: give numbers as JSON or .npz")
    tensor = reader.raw_tensor(spec, encode_strings([text]), None, where)
    return reader.item({spec.name: tensor}, {}, where)


def _raw_item(path: Path, inputs: list[Path], outputs: list[Path], reader: ItemReader) -> Item:
    """One item of files of raw bytes; of strings, each line is an element."""

    def tensor(file: Path, is_output: bool) -> Tensor:
        spec = reader.spec_of(file.name, str(path), is_output)
        content = _content(file)
        data = encode_strings(content.splitlines()) if spec.datatype == BYTES else content
        return reader.raw_tensor(spec, data, None, str(file))

    return reader.item({file.name: tensor(file, False) for file in inputs}, {file.name: tensor(file, True) for file in outputs}, str(path))


def _files(path: Path) -> list[Path]:
    try:
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror}): name a folder that can") from error
    if len(files) > _MOST_FILES:
        raise WorkloadError(f"{path}: has {len(files):,} files, at most {_MOST_FILES:,} are read: name a smaller folder")
    return files


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WorkloadError(f"{file}: cannot be read ({error.strerror}): give a file that can") from error
