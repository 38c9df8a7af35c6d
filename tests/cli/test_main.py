from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from click.testing import CliRunner, Result

from trtbench import __version__
from trtbench.analysis.verdict.verdict import Reason, Status, Verdict
from trtbench.cli import commands
from trtbench.cli.compare.exit_codes import UNDECIDED
from trtbench.cli.main import main
from trtbench.engine.build import PROVIDERS
from trtbench.run.log import RunOutcome
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.reading import load_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.installation import InstallationError
from trtbench.system import packaged_data

SHIPPED = sorted(path.stem for path in packaged_data.SCENARIOS.glob("*.yaml"))
needs_openvino = pytest.mark.skipif(PROVIDERS["openvino"].unavailable() is not None, reason=str(PROVIDERS["openvino"].unavailable()))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("name", SHIPPED)
@needs_openvino
def test_every_shipped_scenario_can_be_run_dry(name: str) -> None:
    result = invoke("serve-and-bench", name, "--dry-run")
    if "no vLLM" in result.output:
        pytest.skip(result.output)
    assert result.exit_code == 0, result.output
    scenario = load_scenario(packaged_data.SCENARIOS / f"{name}.yaml").expanded()
    assert all(stage.label in result.stdout for stage in scenario.load)
    assert all(f"{deployment}-{dtype}" in result.stdout for deployment in scenario.deployments for dtype in scenario.engines)
    searched = "context_limit" if scenario.context_limit else "capacity: searches" if scenario.capacity else None
    assert (searched or "of load in all") in result.stdout
    assert ("KV cache" in result.stdout) == (scenario.task == "generate")


@needs_openvino
def test_a_directory_of_a_scenarios_name_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "load").mkdir()
    monkeypatch.chdir(tmp_path)
    result = invoke("serve-and-bench", "load", "--dry-run")
    assert result.exit_code == 0, result.output


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    result = invoke("serve-and-bench", "quickstart", "--dry-run", "--runs", str(tmp_path / "runs"), "--set", "load.0.requests=7")
    assert result.exit_code == 0
    assert not (tmp_path / "runs").exists()
    row = next(line for line in result.stdout.splitlines() if " c1 " in line)
    assert " 7 " in row


@needs_openvino
def test_a_dry_run_says_what_is_served_and_held() -> None:
    held = ("--set", "gpu={sm_clock_mhz: base, power_limit_w: 300}")
    result = invoke("serve-and-bench", "scaling", "--dry-run", *held)
    assert result.exit_code == 0, result.output
    assert "servers-2-r1: 2 Triton server(s), requests spread by haproxy (round_robin)" in result.output
    assert "gpu, held during the run and restored: sm_clock_mhz: base, power_limit_w: 300.0" in result.output


def test_a_dry_run_says_how_large_a_grid_is_and_what_it_leaves_out() -> None:
    axes = ("--set", "grid.max_batch_size=[4,8]", "--set", "grid.max_queue_delay_us=[0]", "--set", "grid.max_sequences=[4]")
    axes += ("--set", "grid.instances=[1]", "--set", "grid.max_tokens_per_step=[256]")
    result = invoke("serve-and-bench", "batching", "--search", "--dry-run", *axes)
    assert result.exit_code == 0, result.output
    assert "grid: 1 cells x 3 rounds x 1 engine(s) = 3 runs, at most: the search drops cells that cannot win" in result.stdout
    assert "left out: b4-d0-i1-s4-t256: dynamic_batching.preferred_batch_sizes [8] go over max_batch_size (4)" in result.stdout


def test_without_a_grid_there_is_nothing_to_search() -> None:
    result = invoke("serve-and-bench", "quickstart", "--search", "--dry-run")
    assert result.exit_code == 2 and "has no grid to search" in result.stderr


def test_scenarios_lists_all_that_ship() -> None:
    result = invoke("scenarios")
    assert result.exit_code == 0
    for name in SHIPPED:
        row = next(line for line in result.stdout.splitlines() if line.startswith(f"│ {name} "))
        purpose = yaml.safe_load((packaged_data.SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8"))["purpose"]
        assert purpose[:40] in row
    assert "24.0 h" in next(line for line in result.stdout.splitlines() if line.startswith("│ endurance "))


def test_the_schema_is_json() -> None:
    result = invoke("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == Scenario.model_json_schema()


def test_the_schema_that_ships_is_the_one_that_is_printed() -> None:
    shipped = packaged_data.SCENARIOS / "schema.json"
    if not shipped.exists():
        pytest.skip("scenarios/schema.json does not ship")
    assert json.loads(shipped.read_text(encoding="utf-8")) == Scenario.model_json_schema()


def test_version_and_help() -> None:
    assert __version__ in invoke("--version").output
    for command in main.commands:
        result = invoke(command, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


def shown_examples() -> list[str]:
    """Every command that a --help shows as an example."""
    helps = (invoke(command, "--help").output for command in main.commands)
    return [line.strip() for text in helps for line in text.splitlines() if line.startswith("    trtbench ")]


def test_helps_show_examples() -> None:
    assert len(shown_examples()) > 7


@needs_openvino
@pytest.mark.whole_run
@pytest.mark.parametrize("example", shown_examples())
def test_an_example_of_the_help_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that start nothing run as shown; the others show what they would do."""
    (examples := tmp_path / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    monkeypatch.chdir(tmp_path)
    command, *arguments = shlex.split(example)[1:]
    writes = command in ("dataset", "export", "import")
    if command == "import":
        for written in (Path(__file__).parents[1] / "fixtures").glob("*_trtllm_bench_written_by_hand*"):
            shutil.copy(written, tmp_path / f"{written.name.partition('_')[0]}{written.suffix}")
    given = [examples]
    if command == "compare":
        given.append(runs := tmp_path / "runs")
        for name in ("BASE", "CANDIDATE"):
            shutil.copytree(examples / "precision", runs / name)
    result = invoke(command, *arguments, *([] if writes or command == "compare" or "--dry-run" in arguments else ["--dry-run"]))
    assert result.exit_code == (UNDECIDED if "--fail-on" in arguments else 0), result.output
    assert ([path for path in tmp_path.iterdir() if path not in given] != []) == writes


def test_a_dry_run_of_bench_asks_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load = ("--request-rate", "2,4", "--max-concurrency", "3", "--request-count", "20", "--warmup-request-count", "2")
    result = invoke("bench", "--url", "127.0.0.1:1", "--model", "m", *load, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "model m by kserve at 127.0.0.1:1, which is not asked yet" in result.stdout
    assert "poisson-2-max3" in result.stdout and "poisson-4-max3" in result.stdout
    assert "15 s of load in all" in result.stdout
    assert list(tmp_path.iterdir()) == []


MINI: dict[str, Any] = {"name": "mini", "provider": "openvino", "load": [{"concurrency": 1, "requests": 1}]}

BAD: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "an unknown key": ({"nmae": 1}, (), "nmae = 1"),
    "an unknown SLO": ({"slo": {"latency_ms": 5}}, (), "slo.latency_ms = 5"),
    "rate 0": ({"load": [{"mode": "poisson", "rate": 0, "requests": 1}]}, (), "load.0.rate = 0"),
    "a preferred batch over the largest": (
        {"deployments": {"d": {"max_batch_size": 4, "dynamic_batching": {"preferred_batch_sizes": [8]}}}},
        (),
        "deployments.d: dynamic_batching.preferred_batch_sizes [8] go over max_batch_size (4)",
    ),
    "a KV cache under one request": (
        {"deployments": {"d": {"kv_cache": {"blocks": 4}}}},
        (),
        "deployments.d: kv_cache budget of 4 blocks (128 tokens) is under one request",
    ),
    "prompts over the positions": (
        {"workload": {"input_tokens": 8000, "output_tokens": 500}},
        (),
        "workload.input_tokens + workload.output_tokens = 8500 is over the model's 8192 positions",
    ),
    "an override of nothing": ({}, ("--set", "load.3.requests=5"), "--set load.3.requests=5: 3 is not a position in a list of 1"),
    "a value of the wrong type": ({}, ("--set", "load.0.requests=many"), "load.0.requests = 'many'"),
    "a model that is none": ({"model": "no/such/model"}, (), "model 'no/such/model' is neither a demo"),
    "a provider that cannot run here": ({"provider": "tensorrt_llm"}, (), "provider tensorrt_llm cannot run here"),
}


@pytest.mark.parametrize("name", BAD)
@needs_openvino
def test_bad_input_is_one_message_and_nothing_is_started(name: str, tmp_path: Path) -> None:
    more, arguments, says = BAD[name]
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(MINI | more))
    before = psutil.Process().children(recursive=True)
    for dry_run in ((), ("--dry-run",)):
        result = invoke("serve-and-bench", str(tmp_path / "mini.yaml"), "--runs", str(tmp_path / "runs"), *arguments, *dry_run)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("trtbench: ")
        assert says in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert result.stdout == ""
    assert psutil.Process().children(recursive=True) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mini.yaml"]


@pytest.mark.triton
@needs_openvino
def test_a_runs_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(MINI))
    result = invoke("serve-and-bench", str(tmp_path / "mini.yaml"), "--runs", str(tmp_path / "mini.yaml" / "runs"))
    assert result.exit_code == 2
    assert "runs cannot be written to (Not a directory): choose another directory" in result.stderr


def test_a_checkpoint_that_is_not_one(tmp_path: Path) -> None:
    result = invoke("build", str(tmp_path), "--output", str(tmp_path / "built"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a Hugging Face checkpoint: it has no config.json" in result.stderr
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve-and-bench", "none.yaml"), "none.yaml: cannot be read"),
        (("serve-and-bench", "nosuchname"), "`trtbench scenarios` lists those that ship"),
        (("report", "."), "is not a run directory: it has no environment.json"),
        (("report", "nowhere"), "nowhere is not a run directory"),
        (("report", ".", "--format", "pdf"), "--format pdf: unknown format pdf; give any of md, html, json"),
        (("build", "none.yaml"), "engine spec none.yaml cannot be read"),
        (("build", "no-model"), "'no-model' is neither a demo"),
        (("bench", "--url", "x:1", "--model", "m", "--goodput", "speed:1"), "unknown latency speed; give one of"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_or_flag_is_named() -> None:
    assert invoke("fly").exit_code == 2
    assert invoke("scenarios", "--fast").stderr.startswith("trtbench: no such option --fast of `trtbench scenarios`")


@pytest.mark.process
@pytest.mark.timeout(60)
def test_bad_input_in_a_process_of_its_own(tmp_path: Path) -> None:
    """No traceback reaches the shell."""
    done = subprocess.run([sys.executable, "-m", "trtbench.cli.main", "report", str(tmp_path)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert done.stderr == f"trtbench: {tmp_path} is not a run directory: it has no environment.json\n"


@pytest.mark.process
def test_doctor_explains_a_machine_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise InstallationError("no tritonserver")

    monkeypatch.setattr(commands, "find_tritonserver", nowhere)
    monkeypatch.setattr(commands, "libpython", nowhere)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "fail  tritonserver: no tritonserver" in result.stdout


@pytest.mark.process
def test_doctor_says_what_this_machine_can_do() -> None:
    result = invoke("doctor")
    assert result.exit_code in (0, 1)
    assert "tritonserver" in result.stdout
    assert all(f"provider {name}" in result.stdout for name in PROVIDERS)


@pytest.mark.parametrize(
    ("status", "reasons", "lost", "interrupted_by", "strict", "code"),
    [
        ("VALID", (), (), None, True, 0),
        ("SUSPECT", (), (), None, False, 0),
        ("SUSPECT", (), (), None, True, 4),
        ("INVALID", (), (), None, False, 4),
        ("INVALID", (Reason("nothing_completed", "invalid"),), (), None, False, 1),
        ("INVALID", (), ("default-fp16",), None, False, 1),
        ("INVALID", (), (), 2, True, 130),
    ],
)
def test_the_exit_code_follows_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: Status,
    reasons: tuple[Reason, ...],
    lost: tuple[str, ...],
    interrupted_by: int | None,
    strict: bool,
    code: int,
) -> None:
    monkeypatch.setattr(commands, "ReadRun", lambda path, summary: None)
    monkeypatch.setattr(commands, "slo_decisions", lambda run: [])
    monkeypatch.setattr(
        commands,
        "report_run",
        lambda path, language: SimpleNamespace(verdict=Verdict(status, reasons), scenario=SimpleNamespace(task="generate")),
    )
    assert commands._finish(RunOutcome(RunDirectory(tmp_path), interrupted_by, lost), "en", strict) == code


@pytest.mark.process
def test_help_imports_nothing_that_it_does_not_need() -> None:
    """It is asked for often, and each of these costs milliseconds."""
    command = [sys.executable, "-X", "importtime", "-m", "trtbench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "trtbench.cli.main" in imported
    heavy = {"subprocess", "tempfile", "yaml", "pydantic", "numpy", "grpc", "trtbench.system.leftovers", "trtbench.scenario.scenario"}
    assert not imported & heavy
