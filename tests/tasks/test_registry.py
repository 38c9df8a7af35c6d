"""The registry of tasks, and what a new task needs: its own file and its line there."""

from __future__ import annotations

import ast
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import trtbench
from tests.recorded_run import RECORDED
from trtbench.cli.main import main
from trtbench.plan.draw import draw_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.report.kit.words import LANGUAGES, texts_of, texts_of_task
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.tasks.embed import EMBED
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import Task

CLASSIFY = replace(
    EMBED,
    name="classify",
    texts_files=(),
    least_input_tokens=1,
    hidden=EMBED.hidden | {"padding", "core.p50"},
)


@pytest.fixture
def classify(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setitem(TASKS, CLASSIFY.name, CLASSIFY)
    return CLASSIFY


@pytest.mark.parametrize("name", TASKS)
def test_the_key_is_the_name(name: str) -> None:
    assert TASKS[name].name == name


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_what_a_task_names_exists(task: Task) -> None:
    """A metric or column that is misspelt would be shown."""
    root = Path(trtbench.__file__).parent
    paths = [path for folder in ("report", "experiments", "analysis") for path in (root / folder).rglob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    constants = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {part for name in task.hidden for part in name.split(".")} <= constants
    for language in LANGUAGES:
        assert texts_of_task(language, task.name).keys() <= texts_of(language).keys()


@pytest.mark.whole_run
def test_a_new_task_is_reported_without_a_word_of_it_elsewhere(classify: Task, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(RECORDED / "encoder", run, ignore=shutil.ignore_patterns("expected_*"))
    scenario = run / "scenario.yaml"
    scenario.write_text(scenario.read_text(encoding="utf-8").replace("task: embed", "task: classify"), encoding="utf-8")
    done = CliRunner().invoke(main, ["report", str(run), "--format", "md"], catch_exceptions=False)
    text = (run / "report.md").read_text(encoding="utf-8")
    assert done.exit_code == 0, done.output
    assert "| QPS | P99 latency (ms) |" in text and "P99 from sent" in text
    assert "P50 latency" not in text.split("P99 from sent")[0] and "Padding" not in text
    assert "TTFT" not in text.split("##")[1]


def test_a_new_task_is_asked_for_and_planned(classify: Task) -> None:
    tree = {"name": "n", "task": "classify", "model": "m", "load": [{"concurrency": 2, "requests": 5}]}
    scenario = parse_scenario(tree | {"workload": {"input_tokens": 2}}, "x")
    (stage,) = draw_plan(scenario, UniformPrompts(100)).stages
    assert {prompt.output_tokens for prompt in stage.measured.prompts} == {0}
    assert "kv_cache" not in scenario.dump()
    with pytest.raises(ScenarioError, match=r"output_tokens .*no meaning with task classify: leave it out, or set task: generate$"):
        parse_scenario(tree | {"workload": {"output_tokens": 5}}, "x")


def test_a_task_that_is_not_registered_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"task = .classify.: must be .generate. or .embed. or .infer."):
        parse_scenario({"name": "n", "task": "classify", "load": [{"concurrency": 2, "requests": 5}]}, "x")
