from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.having import measured
from tests.support.runs.synthetic_run import SyntheticRun, write_synthetic_run
from trtbench.analysis.deployments import page_fault
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.validity import reported_reasons, run_reasons, sample_reasons, stage_reasons
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.precision.analysis import precision_findings
from trtbench.experiments.precision.comparison import COMPARISONS
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Event
from trtbench.scenario.parts.choices import Language

pytestmark = pytest.mark.whole_run


def reasons(summary: Summary, **changed: object) -> dict[str, Reason]:
    result = summary.deployments[0]
    stage: StageResult = replace(result.stages[1], **changed)  # type: ignore[arg-type]
    return {reason.code: reason for reason in stage_reasons(result, stage, summary.scenario, 2)}


def test_nothing_is_held_against_a_sound_stage(summary: Summary) -> None:
    assert not reasons(summary)


def test_wrong_output_length_lost_records_and_ends(summary: Summary) -> None:
    stage = summary.deployments[0].stages[1]
    assert reasons(summary, wrong_length=1)["output_length"].grade == "suspect"
    assert reasons(summary, conservation=replace(stage.conservation, unrecorded=1))["equation"].grade == "invalid"
    for ended, grade in (("server_lost", "invalid"), ("broken_off", "invalid"), ("error_bound", "note")):
        assert reasons(summary, span=replace(stage.span, ended=ended))[ended].grade == grade


def test_what_came_is_held_against_what_was_asked_however_the_outputs_end(summary: Summary) -> None:
    lengths = {"wrong_length": 3, "over_length": 1, "estimated_off": 2}
    assert reasons(summary, **lengths).keys() == {"output_length", "output_length_estimated"}
    workload = summary.scenario.workload.model_copy(update={"ignore_eos": False})
    ends = replace(summary, scenario=summary.scenario.model_copy(update={"workload": workload}))
    found = reasons(ends, **lengths)
    assert {code: (found[code].grade, found[code].figures["count"]) for code in found} == {
        "output_beyond": ("suspect", 1),
        "output_short": ("note", 2),
    }


def test_answers_without_output_are_a_doubt_with_their_share(summary: Summary) -> None:
    stage = summary.deployments[0].stages[1]
    found = reasons(summary, conservation=replace(stage.conservation, failed_by_class={"empty": 6}))["output_empty"]
    assert found.grade == "suspect" and found.figures == {
        "count": 6,
        "planned": stage.conservation.planned,
        "share_ratio": 6 / stage.conservation.planned,
    }


def test_throttled_gpu(summary: Summary) -> None:
    use = summary.deployments[0].stages[1].resources
    hot = replace(
        use,
        gpus={"0": GpuUse(None, None, None, None, None, None, throttle_ratios={"power_cap": 0.5, "hw_thermal": 0.02, "sw_thermal": 0.01})},
    )
    found = reasons(summary, resources=hot)
    assert {code: found[code].grade for code in found if code.startswith("gpu")} == {"gpu_power_cap": "note", "gpu_hw_thermal": "suspect"}


def test_an_interrupt_is_a_doubt_and_a_kill_is_worse(summary: Summary) -> None:
    run = measured(summary, summary.deployments)
    assert [r.code for r in run_reasons(False, replace(run, interrupted=True), summary.found)] == ["interrupted"]
    assert [(r.code, r.grade) for r in run_reasons(False, run, summary.found)] == [("incomplete", "invalid")]
    assert [*run_reasons(True, run, summary.found)] == []


def test_samples_too_few_for_p99_are_a_note_and_for_a_median_a_doubt(summary: Summary) -> None:
    assert [r.code for r in sample_reasons(summary.deployments)] == ["few_for_p99"]
    result = summary.deployments[0]
    latency = result.stages[0].latency
    few = replace(result.stages[0], latency=replace(latency, e2e_latency_ns=replace(latency.e2e_latency_ns, count=19)))
    codes = {r.code: r for r in sample_reasons([replace(result, stages=(few,))])}
    assert codes["few_samples"].grade == "suspect" and codes["few_samples"].figures == {"stages": "c1 (19)", "needed": 20}


@pytest.mark.parametrize(("cores", "expected"), [(None, False), (0.3, False), (0.31, True)])
def test_a_shared_machine_is_a_doubt(summary: Summary, cores: float | None, expected: bool) -> None:
    assert ("foreign_load" in reasons(summary, foreign_cpu_cores=cores)) is expected


SILENT = {"family": "llmapi", "token_counts": None, "input_counts": "tokenizer", "forces_length": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return write_synthetic_run(tmp_path_factory.mktemp("told") / "run")


@pytest.fixture(scope="module")
def plain(run: SyntheticRun) -> Summary:
    return summarise(RunDirectory.open(Path(run.run.path)))


@pytest.fixture(scope="module")
def silent(plain: Summary, run: SyntheticRun) -> Summary:
    """The same run, had the server of the first deployment told no counts."""
    directory = Path(run.run.path) / plain.deployments[0].name
    facts = directory / "deployment.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"tokens": SILENT}))
    table = pq.read_table(directory / "requests.parquet")
    at = table.schema.get_field_index("token_counts")
    zeros = [[0] * len(counts) for counts in table["token_counts"].to_pylist()]
    pq.write_table(
        table.set_column(at, table.schema.field(at), pa.array(zeros, table.schema.field(at).type)), directory / "requests.parquet"
    )
    return summarise(RunDirectory.open(Path(run.run.path)))


def test_figures_in_tokens_are_not_shown_and_times_are_the_same(plain: Summary, silent: Summary) -> None:
    for before, after in zip(plain.deployments[0].stages, silent.deployments[0].stages, strict=True):
        assert before.throughput.output_token_throughput and after.throughput.output_token_throughput is None
        assert after.throughput.output_tokens == 0 and after.output_tokens.count == 0 and after.wrong_length == 0
        assert before.latency.tpot_ns.count and not after.latency.tpot_ns.count and not after.latency.itl_per_token_ns.count
        assert after.latency.ttft_ns == before.latency.ttft_ns and after.latency.itl_ns == before.latency.itl_ns
        assert after.throughput.request_throughput == before.throughput.request_throughput
        assert after.kv_cache is None or after.kv_cache.bytes_per_token_measured is None


def test_the_run_is_invalid_and_says_why(plain: Summary, silent: Summary) -> None:
    assert "tokens_unknown" not in {reason.code for reason in plain.verdict.reasons}
    found = {reason.code: reason for reason in silent.verdict.reasons}
    assert silent.verdict.status == "INVALID" and found["tokens_unknown"].deployment == plain.deployments[0].name
    assert {"input_by_tokenizer", "length_not_forced"} <= set(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_says_requests_where_no_tokens_are_counted(silent: Summary, language: Language) -> None:
    """A knee, and two precisions that are both silent: neither in tokens, and no text without its figure."""
    first = silent.deployments[0]
    (knee,) = (one for one in silent.findings if one.code == "knee" and one.deployment == first.name)
    assert knee.figures["knee_requests_per_s"] == pytest.approx(first.stage("c4").throughput.request_throughput)  # type: ignore[union-attr]
    said = Words(language).finding("knee", "seen", knee.figures)
    assert {"en": "requests/s", "zh": "个请求"}[language] in said and "tokens" not in said
    (pair,) = silent.found[COMPARISONS]
    stages = tuple(replace(stage, output_token_throughput=None, request_throughput=1.5) for stage in pair.stages)
    faster = next(one for one in precision_findings(replace(pair, stages=stages)) if one.code == "precision_faster")
    assert {"en": "Requests/s of INT8", "zh": "INT8 的每秒请求数"}[language] in Words(language).finding(
        "precision_faster", "seen", faster.figures
    )
    assert document(silent, Words(language), ()).sections


def test_other_deployments_keep_their_figures(plain: Summary, silent: Summary) -> None:
    assert [replace(stage, span=stage.span) for stage in silent.deployments[1].stages] == list(plain.deployments[1].stages)


@pytest.mark.parametrize(
    ("tally", "code"),
    [
        ({"readings": 0, "failures": 9, "last_error": "PageError: \x1b 404"}, "metrics_unreadable"),
        ({"readings": 1, "failures": 9, "last_error": "PageError: drip"}, "metrics_unreadable"),
        ({"readings": 9, "failures": 1, "last_error": "PageError: drip"}, "metrics_missing"),
        (None, "metrics_missing"),
    ],
)
def test_a_page_that_was_not_read_is_no_server_without_metrics(plain: Summary, tally: dict[str, object] | None, code: str) -> None:
    fault = page_fault([Event(1, "telemetry_finished", "d", {"sources": {"triton_metrics": tally} if tally else {}})])
    result = replace(plain.deployments[0], missing_metrics=("nv_x",), page_fault=fault)
    [reason] = [reason for reason in reported_reasons(result, plain.scenario) if reason.code.startswith("metrics_")]
    assert reason.code == code
    assert "\x1b" not in str(reason.figures)
