"""Control characters, markup and endless text of others, planted wherever a run keeps it: none of it reaches console or report as it is."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console as RichConsole

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.cli.console import Console
from trtbench.cli.reporting import report_run
from trtbench.load.tally import LoadProgress
from trtbench.report.document import escape_markdown
from trtbench.rundir.records import Event
from trtbench.serving.server.autopsy import examine
from trtbench.system.foreign_text import WORD_CHARACTERS, harmless, names, shown

BAD = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u200b\u2066\u2028\ufeff\x00\x7f\u3164"
MARKUP = "<script>alert(1)</script><img src=x onerror=1>![i](http://evil.test/x)[l](javascript:1)`|*b* https://evil.test"
PLANT = f"{BAD}{MARKUP}\r\n# heading"
UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def unseen(text: str) -> set[str]:
    return {character for character in text if character != "\n" and unicodedata.category(character) in UNSEEN}


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    for found in (harmless(text), shown(text), names([text, "b"])):
        assert unseen(found) == set()
    assert "\n" not in shown(text) + names([text])
    assert len(shown(text)) <= 10 * 200 + 40
    assert harmless(harmless(text)) == harmless(text)


def test_what_is_read_well_stays() -> None:
    text = "模型 “smollm2” 50 % ≈ 3.2×, naïve\u00a0text, 😀: C:\\x1b\nline 2"
    assert harmless(text) == text


def test_escapes_and_cuts() -> None:
    assert shown("a\x1b[2J\u202e\U000e0041b\tc\nd") == "a\\x1b[2J\\u202e\\U000e0041b c d"
    assert shown("x" * 10_000) == f"{'x' * 200}... (10,000 characters)"
    assert shown("\ud800") == "\\ud800"
    assert harmless(f"a {'x' * 5000} b") == f"a {'x' * WORD_CHARACTERS}... (5,000 characters) b"
    assert names(f"model-{number:04}" for number in range(2000)).endswith("model-0009 and 1,990 more")
    assert names([]) == "none"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("# x", r"\# x"),
        ("- x", r"\- x"),
        ("12. x", r"12\. x"),
        ("=== ", r"\==="),
        ("-", "-"),
        ("-5.2", "-5.2"),
        ("see https://evil.test or www.evil.test", r"see https\://evil.test or www\.evil.test"),
        ("\x1b[2J\u202e", r"\\x1b\[2J\\u202e"),
    ],
)
def test_markdown_of_foreign_text(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def planted(value: Any) -> Any:
    """PLANT behind every text of a tree of JSON, but for those that analysis looks up."""
    if isinstance(value, dict):
        return {key: planted(inner) if key not in _LOOKED_UP else inner for key, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner) for inner in value]
    return value + PLANT if isinstance(value, str) else value


_LOOKED_UP = {"name", "mode", "ended", "started_utc", "plan_sha256", "dtype", "kv_dtype", "balancer", "deployment", "kind", "why", "stage"}
_LOOKED_UP |= {"algorithm", "timeout_action", "sha256", "provider", "config"}
_EVENTS = [
    Event(5, "telemetry_finished", "default-fp16", {"sources": {"triton_metrics": _t(PLANT), "gpu": _t(PLANT)}})
    for _t in [lambda text: {"readings": 0, "failures": 9, "skipped": 0, "last_error": text, "note": text}]
] + [
    Event(6, "server_lost", "default-int8", {"exit_code": 1, "cause": PLANT, "log_tail": PLANT, "out_of_memory": False, "memory": None}),
    Event(7, "server_fault", "default-int8", {"cause": PLANT}),
]


@pytest.fixture(scope="module")
def run_of_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "run"
    write_synthetic_run(path, small=True)
    for file in (*path.glob("*/*.json"), path / "environment.json"):
        row = json.loads(file.read_text())
        extra = {"unanswered_calls": {"ModelConfig": PLANT}} if file.name == "deployment.json" else {}
        file.write_text(json.dumps(planted(row) | extra))
    rows = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    rows = [row | {"data": planted(row["data"])} for row in rows] + [event.to_json() for event in _EVENTS]
    (path / "events.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for file in path.glob("*/requests.parquet"):
        table = pq.read_table(file)
        for column, text in (("outcome", "other"), ("error", PLANT), ("model_version", PLANT)):
            field = table.schema.field(column)
            values = [text if number % 3 == 0 else value for number, value in enumerate(table[column].to_pylist())]
            table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))
        pq.write_table(table, file)
    return path


@pytest.mark.usefixtures("sketched_figures")
def test_reports_and_console_of_a_run_with_planted_texts(run_of_texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_run(run_of_texts, "en")
    out = capsys.readouterr()
    markdown, html = ((run_of_texts / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    for text in (out.out, out.err, markdown, html):
        assert unseen(text) == set()
    assert "\\x1b" in html and "\\x1b" in markdown  # what was planted is shown
    assert "<script" not in html and "<img src=x" not in html
    prose = [line for line in markdown.splitlines() if not line.startswith("    ")]
    for sign in ("<script", "![i](", "[l](", "https://evil", "\n# heading"):
        assert not any(sign in line for line in prose), sign
    assert PLANT in json.loads((run_of_texts / "summary.json").read_text())["command"]


def events() -> Iterator[Event]:
    yield from _EVENTS
    yield Event(1, "run_started", "", {"path": PLANT})
    yield Event(1, "plan_drawn", "", {"sha256": "a" * 64, "notes": [PLANT]})
    yield Event(1, "server_ready", PLANT, {"seconds": 1.0, "grpc": PLANT})
    yield Event(1, "deployment_skipped", PLANT, {"reason": PLANT})
    reload = {"number": 1, "reload": "broken", "ok": False, "error": PLANT, "seconds": 1.0}
    yield Event(1, "reload_finished", PLANT, reload)
    yield Event(1, "gpu_busy", "", {"stage": PLANT, "gpu": PLANT, "processes": [{"pid": 1, "name": PLANT}]})


def test_lines_of_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(LoadProgress())
    monkeypatch.setattr(console, "_out", RichConsole(file=out, highlight=False))
    for event in events():
        console(event)
    assert unseen(out.getvalue()) == set()
    assert out.getvalue().count("\\x1b") > 10


def test_an_autopsy_of_a_log_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text(f"failed to load '{BAD}' version 1: {PLANT}\n{'x' * 10_000}\n")
    death = examine(tmp_path / "server.log", 1)
    assert unseen(str(death)) == set()
    assert max(map(len, str(death).splitlines())) < 700
