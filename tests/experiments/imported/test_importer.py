from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.errors import UserError
from trtbench.experiments.imported.analysis import IMPORTED
from trtbench.experiments.imported.importer import import_trtllm_bench

FIXTURES = Path(__file__).parents[2] / "fixtures"
REPORT = FIXTURES / "report_trtllm_bench_written_by_hand.json"
LOG = FIXTURES / "iterations_trtllm_bench_written_by_hand.log"
pytestmark = pytest.mark.whole_run


def test_a_report_becomes_a_run_that_says_who_measured_it(tmp_path: Path) -> None:
    run, said = import_trtllm_bench(REPORT, None, tmp_path, ["trtbench", "import"])
    summary = summarise(run)
    imported = summary.found[IMPORTED]
    assert imported and imported.tool == "trtllm-bench" and said == ""
    assert summary.verdict.status == "SUSPECT" and "imported" in {reason.code for reason in summary.verdict.reasons}
    assert (summary.complete, summary.scenario.model, summary.scenario.engines) == (True, "meta-llama/Llama-3.1-8B-Instruct", ("fp8",))
    assert json.dumps(summary.to_json())


def test_an_iteration_log_fills_the_batch_and_the_kv_cache(tmp_path: Path) -> None:
    run, said = import_trtllm_bench(REPORT, LOG, tmp_path, [])
    assert said.endswith("20 iterations; 1 lines cannot be used (first: line 21)")
    (result,) = summarise(run).deployments
    (stage,) = result.stages
    assert stage.inflight and stage.inflight.running.mean == pytest.approx(sum(min(100, 5 * n + 5) for n in range(1, 20)) / 19)
    assert stage.kv_cache and stage.kv_cache.used_ratio_peak == pytest.approx(0.114)


def test_files_that_are_no_report_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json cannot be read as JSON"):
        import_trtllm_bench(tmp_path / "none.json", None, tmp_path, [])
    with pytest.raises(UserError, match="has no line with a timestamp of trtllm-bench"):
        import_trtllm_bench(REPORT, REPORT, tmp_path, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("lang", "says"), [("en", "not measured by trtbench"), ("zh", "并非由 trtbench 测得")])
def test_the_command_writes_the_report(tmp_path: Path, lang: str, says: str) -> None:
    done = CliRunner().invoke(main, ["import", "trtllm-bench", str(REPORT), "--runs", str(tmp_path), "--lang", lang])
    assert done.exit_code == 0, done.output
    (report,) = tmp_path.rglob("report.md")
    assert says in done.output and "avg_request_latency_ms" in report.read_text().replace("\\", "")
