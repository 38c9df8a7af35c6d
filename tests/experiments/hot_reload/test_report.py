"""The section on hot reload and its figure, from planted reloads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.test_encoder import FOREIGN
from tests.support.having import having
from tests.support.records import columns, samples_of
from tests.support.runs.synthetic_reloads import FIRST, NO_SAMPLES, S, events, requests
from trtbench.analysis.summary import Summary
from trtbench.experiments.hot_reload.reloads import RELOADS, Reloads, reloads
from trtbench.experiments.hot_reload.report import reload_blocks
from trtbench.report.figures import plots
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.rundir.records import Event, RequestRecord
from trtbench.scenario.parts.choices import Language

pytestmark = pytest.mark.usefixtures("figures_on_demand")
MEMORY = {("server_rss_bytes", ""): [(FIRST, 1e9), (FIRST + S, 2e9)], ("gpu_memory_used_bytes", "0"): [(FIRST, 3e9), (FIRST + S, 4e9)]}


def with_reloads(summary: Summary, found: Reloads | None) -> Summary:
    return replace(summary, deployments=(having(summary.deployments[0], {RELOADS: found}),))


def alike() -> list[Event]:
    """All three of one kind."""
    happened = events()
    for one in happened:
        if one.kind.startswith("reload_"):
            one.data["repeat"], one.data["reload"] = one.data["number"], "changed_config"
    return happened


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_figure_shows_versions_memory_and_instants(summary: Summary, language: Language) -> None:
    drawings = plots.draw(with_reloads(summary, reloads(events(), columns(requests()), samples_of(MEMORY))), Words(language))
    svg = drawings["reloads-default-fp16"].svg
    words = Words(language if plots._cjk_font() else "en")
    shown = ("version 1", "version 2") if words.language == "en" else ()
    for text in (*shown, words("legend.rss"), words("legend.gpu_memory"), words("legend.first_answer"), words("legend.recovered")):
        assert text in svg


def test_no_figure_of_a_load_without_answers_or_reloads(summary: Summary) -> None:
    nothing = replace(requests()[0], token_ns=[], token_counts=[])
    assert "reloads-default-fp16" not in plots.draw(with_reloads(summary, reloads(events(), columns([nothing]), NO_SAMPLES)), Words("en"))
    assert "reloads-default-fp16" not in plots.draw(summary, Words("en"))


def test_repeats_are_shown_as_a_median_and_its_range(summary: Summary) -> None:
    found = reloads(alike(), columns(requests()), NO_SAMPLES)
    (spread,) = [
        block
        for block in reload_blocks(with_reloads(summary, found), Words("en"), ())
        if isinstance(block, Table) and "over its repeats" in block.caption
    ]
    assert spread.rows == (
        (
            *("changed configuration", "3", "1.00× (1.00× … 8.00×)", "1.00× (1.00× … 1.00×)", "1.00 s (1.00 s … 3.00 s)"),
            *("1.50 s (1.50 s … 1.50 s)", "3.00 s [1/3]", "175 (0 … 350) [2/3]", "0 (0 … 0)"),
        ),
    )


def test_repeats_are_pooled_with_the_count_that_a_p99_lacks(summary: Summary) -> None:
    blocks = reload_blocks(with_reloads(summary, reloads(alike(), columns(requests()), NO_SAMPLES)), Words("en"), ())
    (pool,) = [block for block in blocks if isinstance(block, Table) and "all windows" in block.caption]
    (row,) = pool.rows
    assert row[:2] == ("changed configuration", "3") and row[3] == "≥ 400 (51)" and row[4] == "-" and row[5] == "50.0 … 400"


def of_encoder() -> list[RequestRecord]:
    return [replace(r, token_ns=[], token_counts=[], asked_output_tokens=0, done_ns=r.token_ns[0]) for r in requests()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_an_encoder_nothing_is_said_of_tokens(summary: Summary, language: Language) -> None:
    words = Words(language, "embed")
    with_them = with_reloads(summary, reloads(alike(), columns(of_encoder()), NO_SAMPLES))
    blocks = reload_blocks(with_them, words, ("reloads-default-fp16",))
    assert not FOREIGN.findall(str(blocks))
    assert all(len(row) == len(block.header) for block in blocks if isinstance(block, Table) for row in block.rows)
    assert words("axis.itl_p99_ms") not in plots.draw(with_them, words)["reloads-default-fp16"].svg


def test_a_reload_that_did_not_end_as_asked_says_so(summary: Summary) -> None:
    happened = events()
    next(e for e in happened if e.kind == "reload_finished").data["error"] = "m is still served"
    blocks = reload_blocks(with_reloads(summary, reloads(happened, columns(requests()), NO_SAMPLES)), Words("en"), ())
    (done,) = [block for block in blocks if isinstance(block, Table) and "actions of each reload" in block.caption]
    assert done.rows[0][2] == "loaded, but not completed as requested"


def test_a_single_round_has_no_table_of_repeats(summary: Summary) -> None:
    found = reloads(events(), columns(requests()), NO_SAMPLES)
    captions = [block.caption for block in reload_blocks(with_reloads(summary, found), Words("en"), ()) if isinstance(block, Table)]
    assert len(captions) == 5 and not any("repeats" in caption for caption in captions)
