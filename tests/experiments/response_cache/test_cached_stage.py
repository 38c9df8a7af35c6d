"""A response cache of planted truth: what repeats, what could be answered, what Triton counted, and what it gained."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, columns, request_of, samples_of
from tests.support.runs.cache_run import COMPUTED_MS, HITS, LOOKUP_NS, MISS_NS, MISSES, QUEUE_NS, REQUESTS, STAGE, write_cache_run
from trtbench.analysis.loader import read_prompts
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.grid.report import stanza
from trtbench.experiments.response_cache.cached_stage import CACHED_STAGES, cached_stage, find_repeats
from trtbench.experiments.response_cache.gain import CACHE_GAINS
from trtbench.report.document import write_reports
from trtbench.report.kit.words import LANGUAGES
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.choices import Language
from trtbench.tasks.embed import EMBED

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(write_cache_run(tmp_path_factory.mktemp("cache") / "run"))


def test_what_the_cache_did(cached: Summary) -> None:
    by_name = {result.name: result for result in cached.deployments}
    assert by_name["cache0-r1-fp16"].found[CACHED_STAGES] == ()
    (stage,) = by_name["cache1-r1-fp16"].found[CACHED_STAGES]
    assert (stage.stage, stage.answered, stage.hits, stage.misses) == (STAGE, REQUESTS, HITS, MISSES)
    assert stage.hit_ratio == HITS / REQUESTS  # not HITS / (HITS + MISSES): Triton leaves the twin out
    assert (stage.sent, stage.repeats, stage.servable) == (REQUESTS, REQUESTS // 2, HITS)
    assert (stage.hit_mean_ns, stage.miss_mean_ns) == (LOOKUP_NS, MISS_NS)
    assert (stage.servable_e2e_ns.p50, stage.other_e2e_ns.p50) == (MS, COMPUTED_MS[1] * MS)
    assert (stage.servable_e2e_ns.count, stage.other_e2e_ns.count) == (HITS, REQUESTS - HITS)
    assert (stage.evictions, stage.entries, stage.used_ratio) == (0, 40, 0.25)


def test_triton_times_are_of_what_was_computed(cached: Summary) -> None:
    for result in cached.deployments:
        batch = result.stages[0].triton_batching
        assert batch and (batch.queue_mean_ns, batch.compute_mean_ns) == (QUEUE_NS, 9 * MS)


def test_the_gain_goes_round_by_round(cached: Summary) -> None:
    (pair,) = cached.found[CACHE_GAINS]
    assert (pair.off, pair.on, pair.dtype) == ("cache0", "cache1", "fp16")
    (stage,) = pair.stages
    gains = [99 * ms / (50 * ms + 49) for ms in COMPUTED_MS.values()]
    assert stage.gain.mean == pytest.approx(sum(gains) / 2) and stage.gain.count == 2
    assert (stage.repeat_ratio, stage.servable_ratio, stage.hit_ratio) == (0.5, HITS / REQUESTS, HITS / REQUESTS)
    assert (stage.p50_off_ns, stage.closed, stage.level) == (11 * MS, True, 1)
    assert not {finding.code for finding in cached.findings if finding.code.startswith("cache_")}


def codes(path: Path, lost: int = 0, evictions: int = 0, warm: int = 0) -> set[str]:
    summary = summarise(write_cache_run(path, lost, evictions, warm))
    return {finding.code for finding in summary.findings if finding.code.startswith("cache_")}


def test_a_cache_that_forgets(tmp_path: Path) -> None:
    assert codes(tmp_path / "lost", lost=10, evictions=12) == {"cache_evicts"}
    assert codes(tmp_path / "harmless", evictions=12) == set()
    assert codes(tmp_path / "no-evictions", lost=10) == set()


def test_a_cache_that_was_not_empty(tmp_path: Path) -> None:
    assert codes(tmp_path / "warm", warm=5) == {"cache_was_warm"}


def test_a_cache_with_nothing_to_answer(tmp_path: Path) -> None:
    assert codes(tmp_path / "rare", lost=HITS - 1) == {"cache_rarely_hits"}


def test_a_cache_that_costs(tmp_path: Path) -> None:
    """Answers out of it take four times what computing took: 50 computed of 10 or 12 ms and 49 hits of 48 ms."""
    summary = summarise(write_cache_run(tmp_path / "slow", hit_ms=48))
    (found,) = (finding for finding in summary.findings if finding.code.startswith("cache_"))
    gains = [99 * ms / (50 * ms + 49 * 48) for ms in COMPUTED_MS.values()]
    assert (found.code, found.deployment, found.stage) == ("cache_costs", "cache1-fp16", STAGE)
    assert found.figures["gain_ratio"] == pytest.approx(sum(gains) / 2 - 1)
    assert (found.figures["off"], found.figures["hit_ratio"]) == ("cache0", HITS / REQUESTS)


def test_a_cache_that_makes_no_clear_difference_does_not_cost(tmp_path: Path) -> None:
    """Answers out of it take as long as computing did in one round, and longer in the other by less than rounds differ."""
    summary = summarise(write_cache_run(tmp_path / "even", hit_ms=12))
    assert summary.found[CACHE_GAINS][0].stages[0].gain.mean < 1
    assert not {finding.code for finding in summary.findings if finding.code == "cache_costs"}


@pytest.mark.usefixtures("sketched_figures")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_has_its_section_and_figure(tmp_path: Path, language: Language) -> None:
    run = write_cache_run(tmp_path / "run", lost=10, evictions=12)
    write_reports(run, summarise(run), language)
    text = (run.path / "report.md").read_text()
    assert {"en": "## Response cache", "zh": "## 响应缓存"}[language] in text
    assert (run.path / "plots" / "response_cache.png").is_file()


def test_the_stanza_has_the_cache_and_the_flag_of_the_server() -> None:
    cache = {"kind": "local", "size_mb": 64}
    with_cache, without = (stanza(Deployment.model_validate({"response_cache": one}), EMBED) for one in (cache, None))
    assert "\nresponse_cache { enable: true }\n# tritonserver: --cache-config=local,size=64000000\n" in with_cache
    assert "cache" not in without


def test_no_plan_no_repeats(tmp_path: Path) -> None:
    assert read_prompts(tmp_path / "plan.jsonl") == {}
    assert find_repeats(columns([request_of(0, [])]), {}).repeated.tolist() == [False]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(1, 20), st.booleans()), max_size=30))
def test_repeats_against_the_definition(drawn: list[tuple[int, int, int, bool]]) -> None:
    outcomes = {True: Outcome.COMPLETED, False: Outcome.REJECTED}
    requests = [request_of(due, [due + took], outcomes[good], prompt=prompt) for prompt, due, took, good in drawn]
    found = find_repeats(columns(requests), {("c1", str(n)): bytes([n]) for n in range(4)})
    order = sorted(range(len(requests)), key=lambda at: (requests[at].sent_ns, at))
    for place, at in enumerate(order):
        earlier = [requests[other] for other in order[:place] if requests[other].prompt == requests[at].prompt]
        assert found.repeated[at] == bool(earlier)
        same = [r for r in requests if r.prompt == requests[at].prompt and r.outcome is Outcome.COMPLETED and r is not requests[at]]
        sent_ns = requests[at].sent_ns
        assert sent_ns is not None
        assert not (found.servable[at] and not any((r.done_ns or 0) <= sent_ns for r in same))


@pytest.mark.parametrize(("read_after_warmup", "hits"), [(True, 3), (False, None)])
def test_hits_of_the_warm_up_are_not_the_stages(read_after_warmup: bool, hits: int | None) -> None:
    """5 warm-up requests, 4 of them hits, until 50 ms; the stage of 6 requests, 3 hits, from 60 ms. Broken off, its span begins at 0."""
    warm = [request_of(i * 10 * MS, [i * 10 * MS + 9 * MS], prompt=0, warmup=True) for i in range(5)]
    own = [request_of((60 + i * 10) * MS, [(69 + i * 10) * MS], prompt=1 + i // 2) for i in range(6)]
    prompts = {("c1", str(n)): bytes([n]) for n in range(4)}
    readings = {0: (0, 0, 0, 0), 55: (5, 4, 1, 2), 130: (11, 7, 4, 2)}
    if not read_after_warmup:
        del readings[55]
    names = ("triton_success_count", "response_cache_hit_count", "response_cache_miss_count", "response_cache_evictions")
    series = {(name, ""): [(at * MS, float(row[i])) for at, row in readings.items()] for i, name in enumerate(names)}
    samples = samples_of(series | {("response_cache_entries", ""): [(at * MS, 2.0) for at in readings]})
    requests = [*warm, *own]
    stage = cached_stage("c1", 0, 125 * MS, columns(requests), find_repeats(columns(requests), prompts), samples)
    found = stage and (stage.answered, stage.hits, stage.misses, stage.evictions)
    assert found == (None if hits is None else (6, hits, 3, 0))


def test_requests_of_another_client_are_not_taken_for_the_stages() -> None:
    own = [request_of(10 * MS, [19 * MS]), request_of(20 * MS, [29 * MS], prompt=1)]
    samples = samples_of(
        {
            (name, ""): [(0, 0.0), (30 * MS, 3.0)]
            for name in ("triton_success_count", "response_cache_hit_count", "response_cache_miss_count")
        }
    )
    assert cached_stage("c1", 0, 30 * MS, columns(own), find_repeats(columns(own), {}), samples) is None
