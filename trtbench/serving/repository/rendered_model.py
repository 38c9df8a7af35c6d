"""One model of a repository: its config.pbtxt and its first version, ready to be written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODEL_VERSION = "1"


@dataclass(frozen=True)
class RenderedModel:
    """`source`: the directory of its Python files. `files`: further text files of the version, by name. `links`: files of the engine."""

    name: str
    config: str
    source: Path
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        version = directory / self.name / MODEL_VERSION
        write_version(version, self.source, self.files)
        for name, path in self.links.items():
            (version / name).symlink_to(path)
        (directory / self.name / "config.pbtxt").write_text(self.config, encoding="utf-8")


def write_version(version: Path, source: Path, files: Mapping[str, str]) -> None:
    """A version directory that stays as it is: a server that polls would load it again for the bytecode written beside the model.

    The Python stub heeds no PYTHONDONTWRITEBYTECODE, so a file stands where the bytecode would go.
    """
    shutil.copytree(source, version, ignore=shutil.ignore_patterns("__pycache__"))
    (version / "__pycache__").write_text("A file, so that no bytecode is written here (trtbench).\n", encoding="utf-8")
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")
