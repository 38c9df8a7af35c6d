"""What a new variant needs: its own files and its line in a registry. Each is added here from outside, and the pipeline runs over it."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

import trtbench
from tests.recorded_run import RECORDED
from tests.support.added.echo_client import ECHO, EchoTarget
from tests.support.added.lamp_source import LAMP, LAMP_LIT
from tests.support.added.longest_wait.report import TITLES
from tests.support.added.longest_wait.waits import LONGEST_WAIT_NS
from tests.support.added.paper_provider import PAPER_RENDERER, PaperProvider
from tests.support.added.summarise import SUMMARISE
from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.client.protocol import NO_END_ID, Limits
from trtbench.client.registry import CLIENTS, client_to, target_from_json, target_to_json
from trtbench.engine import build
from trtbench.experiments.registry import EXPERIMENTS, Experiment
from trtbench.plan.draw import draw_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.report.kit.words import LANGUAGES
from trtbench.run.resolve.resolved import resolve
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import LineWriter, read_lines
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.system.clock import now_ns
from trtbench.tasks.registry import TASKS
from trtbench.telemetry.sources import SOURCES, SamplerConfig, applicable
from trtbench.telemetry.ticker import Ticker

ADDED = Path(__file__).parent / "support" / "added"
PACKAGE = Path(trtbench.__file__).parent


@dataclass(frozen=True)
class Variant:
    """`files`: below tests/support/added/. `registries`: the files of trtbench/ that get a line each."""

    name: str
    files: tuple[str, ...]
    registries: tuple[str, ...]


VARIANTS = (
    Variant("summarise", ("summarise.py",), ("tasks/registry.py",)),
    Variant("paper", ("paper_provider.py",), ("engine/build.py", "scenario/parts/choices.py", "serving/repository/renderers.py")),
    Variant(
        "longest_wait",
        ("longest_wait/waits.py", "longest_wait/analysis.py", "longest_wait/report.py"),
        ("experiments/registry.py",),
    ),
    Variant("echo", ("echo_client.py",), ("client/registry.py",)),
    Variant("lamp", ("lamp_source.py",), ("telemetry/sources.py",)),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant has its line in its registry."""
    monkeypatch.setitem(TASKS, "summarise", SUMMARISE)
    monkeypatch.setattr(build, "PROVIDERS", {"paper": PaperProvider(), **build.PROVIDERS})
    monkeypatch.setitem(RENDERERS, "paper", PAPER_RENDERER)
    monkeypatch.setitem(EXPERIMENTS, "longest_wait", Experiment("tests.support.added.longest_wait"))
    monkeypatch.setitem(CLIENTS, "echo", ECHO)
    monkeypatch.setitem(SOURCES, "lamp", LAMP)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A recorded run, as it would be with the new task, served by an engine of the new provider, and sampled by the new source too."""
    path = tmp_path / "run"
    shutil.copytree(RECORDED / "baseline", path, ignore=shutil.ignore_patterns("expected_*"))
    scenario = path / "scenario.yaml"
    scenario.write_text(yaml.safe_dump(yaml.safe_load(scenario.read_text(encoding="utf-8")) | {"task": "summarise", "provider": "auto"}))
    facts = path / "default-int8" / "deployment.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"provider": "paper", "traits": asdict(PaperProvider.traits)}))
    samples = path / "default-int8" / "samples.parquet"
    table = pq.read_table(samples)
    lamp = {"time_ns": table["time_ns"][0].as_py(), "name": LAMP_LIT, "label": "desk", "value": 1.0}
    pq.write_table(pa.concat_tables([pa.Table.from_pylist([lamp], schema=table.schema), table]), samples)
    return path


@pytest.mark.whole_run
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_recorded_run_of_all_of_them_is_analysed_and_reported(run: Path, language: str) -> None:
    done = CliRunner().invoke(main, ["report", str(run), "--lang", language, "--format", "md,json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = (run / "report.md").read_text(encoding="utf-8")
    (result,) = json.loads((run / "summary.json").read_text(encoding="utf-8"))["deployments"]
    assert f"## {TITLES[language]}" in text
    assert result["longest_wait_ns"] > 0
    assert result["facts"]["provider"] == "paper" and "paper" in text


@pytest.mark.whole_run
def test_the_public_interface_has_the_result_and_the_series(run: Path) -> None:
    (result,) = summarise(RunDirectory.open(run)).deployments
    assert result.found[LONGEST_WAIT_NS] > 0
    loaded = trtbench.load_run(run)
    assert loaded.summary.scenario.task == "summarise"
    assert LAMP_LIT in set(loaded.samples["name"])


def test_a_scenario_is_resolved_with_the_provider(checkpoint: Path) -> None:
    resolved = resolve(parse_scenario({"name": "x", "model": str(checkpoint), "load": [{"concurrency": 2, "requests": 5}]}, "x"))
    assert resolved.provider.name == "paper"
    assert resolved.budgets["default"].blocks
    assert resolved.preview.stages


def test_the_task_is_planned_and_the_client_sends_it() -> None:
    asked = parse_scenario({"name": "x", "task": "summarise", "load": [{"concurrency": 1, "requests": 3}]}, "x")
    (stage,) = draw_plan(asked, UniformPrompts(100)).stages
    prompt = stage.measured.prompts[0]
    target = target_from_json(json.loads(json.dumps(target_to_json(EchoTarget("here", "m")))))
    record = RequestRecord(0, "c1", False, 0, len(prompt.input_ids), prompt.output_tokens, now_ns())

    async def send() -> None:
        client = client_to(target, asked.workload, asked.client, NO_END_ID)
        await client.open_streams(1)
        await client.send_request(record, client.encode_request(prompt), Limits(now_ns() + 10**9))
        await client.close()

    asyncio.run(send())
    assert record.outcome is Outcome.COMPLETED
    assert record.output_ids == list(prompt.input_ids)


def test_the_source_is_read_by_the_ticker(tmp_path: Path) -> None:
    config = SamplerConfig((), "m", 1, 10**9, gpu=False)
    entry, stop = applicable(config)["lamp"], threading.Event()
    stop.set()  # it reads once when it ends
    with closing(LineWriter(tmp_path / "samples.jsonl")) as writer:
        ticker = Ticker("lamp", lambda: entry.open(config, 1.0), writer, now_ns(), entry.interval_ns(config), stop)
        ticker.start()
        ticker.join(10)
    assert [(name, label, value) for _, name, label, value in read_lines(tmp_path / "samples.jsonl")] == [(LAMP_LIT, "desk", 1.0)]
    assert (ticker.tally.readings, ticker.tally.failures) == (1, 0)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_no_file_of_the_package_knows_a_variant(variant: Variant) -> None:
    """The files that a variant needs: its own, and one line in each registry. Few, and none of the package has its name."""
    assert all((ADDED / file).is_file() for file in variant.files)
    assert all((PACKAGE / file).is_file() for file in variant.registries)
    assert len(variant.files) + len(variant.registries) <= 4
    knows = [path for path in PACKAGE.rglob("*.py") if f'"{variant.name}"' in path.read_text(encoding="utf-8")]
    assert knows == []


def test_every_added_file_is_counted() -> None:
    files = {str(path.relative_to(ADDED)) for path in ADDED.rglob("*.py") if path.name != "__init__.py"}
    assert files == {file for variant in VARIANTS for file in variant.files}
