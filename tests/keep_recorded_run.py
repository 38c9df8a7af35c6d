"""Keeps a run directory as a recorded one: `.venv/bin/python tests/keep_recorded_run.py RUN_DIR KIND`, then recorded_run.py KIND.

Copies to tests/recorded/KIND what `trtbench report` reads, replaces what names the machine, and fails where something still does.
Parquet is compressed harder. Embeddings, of which a request has 1.5 kB, are kept where two engines are compared by them.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.recorded_run import RECORDED

_OF_RUN = ("scenario.yaml", "environment.json", "events.jsonl")
_OF_DEPLOYMENT = ("deployment.json", "engine.json", "config.pbtxt", "plan.jsonl")
_LOG_LINES = 15
_CHECKOUT = Path(__file__).parents[1]
_NEUTRAL = {"hostname_sha256": "0" * 64, "platform": "Linux 6.1.0 x86_64", "variables": {}}


def keep(run: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in _OF_RUN:
        (target / name).write_text(_neutral((run / name).read_text(encoding="utf-8"), run), encoding="utf-8")
    for directory in sorted(path.parent for path in run.glob("*/deployment.json")):
        _keep_deployment(directory, target / directory.name, run)
    environment = json.loads((target / "environment.json").read_text(encoding="utf-8"))
    (target / "environment.json").write_text(json.dumps(environment | _NEUTRAL, indent=2) + "\n", encoding="utf-8")


def _keep_deployment(directory: Path, target: Path, run: Path) -> None:
    target.mkdir()
    engines = yaml.safe_load((run / "scenario.yaml").read_text(encoding="utf-8"))["engines"]
    for path in sorted(directory.iterdir()):
        if path.suffix == ".parquet":
            _keep_parquet(path, target / path.name, with_embeddings=len(engines) > 1)
        elif path.name in _OF_DEPLOYMENT or path.suffix == ".jsonl":
            (target / path.name).write_text(_neutral(path.read_text(encoding="utf-8"), run), encoding="utf-8")
        elif path.name == "server.log":
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[:_LOG_LINES]
            (target / path.name).write_text(_neutral("".join(lines), run), encoding="utf-8")


def _keep_parquet(path: Path, target: Path, with_embeddings: bool) -> None:
    """The same columns, compressed harder, as they are small and many."""
    table = pq.read_table(path)
    if "embedding" in table.column_names and not with_embeddings:
        column = table.schema.get_field_index("embedding")
        table = table.set_column(column, table.schema.field(column), pa.nulls(len(table), table.schema.field(column).type))
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "output_text"]
    pq.write_table(table, target, write_page_checksum=True, use_dictionary=texts, compression="zstd", compression_level=19)


def _neutral(text: str, run: Path) -> str:
    text = text.replace(str(run.resolve()), "/run").replace(str(run.resolve().parent), "/runs").replace(".venv/bin/trtbench", "trtbench")
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/[\w.-]+", "/run/temporary", text)
    text = re.sub(r"trtbench_[0-9a-f]{8}-\d+-\d+", "trtbench_00000000-0-0", text)  # the machine's boot and the process
    return text.replace(str(_CHECKOUT), "/checkout")


def machine_words(target: Path) -> list[str]:
    """Lines that still name the machine, its user, or a path of it."""
    names = "|".join(re.escape(name) for name in {socket.gethostname(), getpass.getuser(), str(Path.home()), tempfile.gettempdir()})
    machine = re.compile(rf"(?<![\w.-])(?:{names}|/work|/root|/home|/tmp)(?![\w-])")
    found = []
    for path in sorted(path for path in target.rglob("*") if path.is_file() and path.suffix != ".gz"):
        text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text(encoding="utf-8")
        found += [f"{path}: {text[max(0, hit.start() - 60) : hit.end() + 60]}" for hit in machine.finditer(text)]
    return found


if __name__ == "__main__":
    os.umask(0o022)
    keep(Path(sys.argv[1]), RECORDED / sys.argv[2])
    if left := machine_words(RECORDED / sys.argv[2]):
        sys.exit("\n".join(left))
