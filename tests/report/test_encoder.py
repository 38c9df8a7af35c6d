"""The report on an encoder: requests first, nothing of tokens that come out, no KV cache, no row or column without a figure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.report.kit.test_words import PLACE, every_finding, every_reason
from tests.support.runs.encoder_run import write_encoder_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.finding import Finding
from trtbench.report.document import write_reports
from trtbench.report.kit.words import LANGUAGES, Words, texts_of, texts_of_task
from trtbench.report.sections.core import core_table
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.choices import Language

pytestmark = pytest.mark.usefixtures("sketched_figures")
FOREIGN = re.compile(
    r"ttft|itl\b|tpot|token_rate|kv[ _]|KV|in-flight|在途|output token|输出吞吐|输出 token|prefill|decod|解码|J/token", re.IGNORECASE
)


@pytest.fixture(scope="module")
def encoder_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return write_encoder_run(tmp_path_factory.mktemp("encoder") / "run", slo=True)


@pytest.fixture(scope="module")
def encoder(encoder_run: RunDirectory) -> Summary:
    return summarise(encoder_run)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_said_of_generation(encoder_run: RunDirectory, encoder: Summary, language: Language) -> None:
    write_reports(encoder_run, encoder, language)
    text = (encoder_run.path / "report.md").read_text()
    assert FOREIGN.findall(text) == []
    assert {path.stem for path in (encoder_run.path / "plots").iterdir()} >= {
        "throughput",
        "latency",
        "distributions",
        "batches",
        "frontier",
    }


def tables(text: str) -> Iterator[list[list[str]]]:
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in block.splitlines()]
        yield [rows[0], *rows[2:]]


def test_no_row_is_without_figures(encoder_run: RunDirectory, encoder: Summary) -> None:
    write_reports(encoder_run, encoder, "en", ["md"])
    shown = list(tables((encoder_run.path / "report.md").read_text()))
    assert len(shown) > 15
    for header, *rows in shown:
        for row in rows:
            assert len(row) < 3 or set(row[1:]) - {"-", "0"}, (header, row)


def test_the_core_table_leads_with_requests(encoder: Summary) -> None:
    header, rows = core_table(encoder, "en")
    assert header[2:4] == ("QPS", "P99 latency (ms)")
    found = next(dict(zip(header, row, strict=True)) for row in rows if row[:2] == ("d0-r1-fp16", "8"))
    assert (found["QPS"], found["P99 latency (ms)"], found["P99 from sent (ms)"]) == ("133", "60.0", "59.9")
    assert (found["Input tokens/s"], found["Mean batch"]) == ("13,333", "8.00")
    assert (found["Triton queue (ms)"], found["Compute (ms)"]) == ("1.00", "60.0")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_and_reason_can_be_said_of_an_encoder(summary: Summary, language: Language) -> None:
    words = Words(language, "embed")
    for found in (
        *every_finding(summary),
        Finding("never_batches", "info", figures={"batch_hit_ratio": 0, "executions": 1, "delay_us": 0}),
    ):
        assert not any(PLACE.search(words.finding(found.code, part, found.figures)) for part in ("title", "seen", "cause", "remedy"))
    for reason in every_reason(summary):
        assert not PLACE.search(words(f"reason.{reason.code}", **reason.figures))


def test_the_texts_of_the_task_replace_others() -> None:
    english, chinese = (texts_of_task(language, "embed") for language in LANGUAGES)
    assert english.keys() == chinese.keys() <= texts_of("en").keys()
    for key, text in english.items():
        assert set(PLACE.findall(text)) == set(PLACE.findall(chinese[key]))
    assert not texts_of_task("en", "generate")
