"""A deployment of TensorRT-LLM from repository to report, on a fake `tritonserver`: what its log told is what the report shows."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines.trtllm_engines import FACTS, engine_of, write_engine, write_templates
from trtbench.analysis.facts import deployment_facts
from trtbench.analysis.summary import Summary
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import Engine
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.deployment_tables import target
from trtbench.run.deploy import deployed
from trtbench.run.log import start_run
from trtbench.run.prepare import render_all
from trtbench.run.resolve import resolved as resolved_module
from trtbench.run.resolve.resolved import ResolvedScenario
from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile
from trtbench.scenario.reading import parse_scenario
from trtbench.serving.server.installation import TritonInstallation

pytestmark = pytest.mark.process

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOAD = [{"concurrency": 1, "requests": 1}]


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """deployment.json of an engine served by the fake."""
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{(FIXTURES / 'fake_tritonserver.py').read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path))
    monkeypatch.setenv("FAKE_LOG", str(FIXTURES / "trtllm_logs" / "loaded_written_by_hand.log"))
    installation = TritonInstallation("PATH", program, tmp_path / "backends")
    monkeypatch.setattr(resolved_module, "find_tritonserver", lambda: installation)

    def deploy(engine: Engine, deployment: dict[str, Any]) -> Any:
        scenario = parse_scenario({"name": "x", "load": LOAD, "deployments": {"a": deployment}}, "here")
        log = start_run(tmp_path / "runs", scenario, [], lambda event: None)
        resolved = ResolvedScenario(scenario, PROVIDERS[engine.provider], FACTS, {}, {}, {}, {})
        repository = render_all(resolved, {"a-fp16": engine})["a-fp16"]
        with deployed(resolved, "a", engine, repository, log.run.deployment("a-fp16"), log):
            return json.loads((log.run.deployment("a-fp16").path / "deployment.json").read_text())

    return deploy


@pytest.mark.timeout(60)
def test_an_engines_log_is_in_the_deployments_facts(deploy: Any, tmp_path: Path) -> None:
    facts = deploy(write_engine(tmp_path / "engine"), {})
    assert (facts["model_name"], facts["provider"]) == ("tensorrt_llm", "tensorrt_llm")
    assert (facts["kv_blocks"], facts["log"]["kv_tokens"]) == (4607, 294848)
    assert facts["traits"] == PROVIDERS["tensorrt_llm"].traits.as_json()
    assert facts["config"]["scheduler"]["max_sequences"] == 64  # the engine's
    assert facts["log"]["scheduler_policy"] == "GUARANTEED_NO_EVICT"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_shows_the_facts_of_the_deployment(deploy: Any, tmp_path: Path, summary: Summary, language: Any) -> None:
    deployment = {"llmapi": {"launch": "direct", "template_dir": str(write_templates(tmp_path / "llmapi"))}}
    facts = deploy(engine_of(tmp_path / "checkpoint", "llmapi", "1.2.1"), deployment)
    result = replace(summary.deployments[0], facts=deployment_facts("a-fp16", DeploymentFile(**facts), EngineFile()))
    words = Words(language)
    table = target(replace(summary, deployments=(result,)), words)[1]
    rows = {row[0]: row[1] for row in table.rows}  # type: ignore[union-attr]
    assert "294,848" in rows[words("target.loaded")] and "GUARANTEED_NO_EVICT" in rows[words("target.loaded")]
    assert "PyTorch" in rows[words("target.backend")]
