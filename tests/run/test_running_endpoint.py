"""A scenario with an endpoint: read from a file, refused by its keys, run, and run again from the run directory's own copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import trtbench
from tests.support.fakes.byte_tokenizer import write_byte_tokenizer
from tests.support.fakes.fake_openai import Manners, serving_openai
from trtbench.cli.main import main
from trtbench.errors import UserError
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import AttemptSetAside
from trtbench.rundir.events import every
from trtbench.rundir.records import Outcome
from trtbench.scenario.reading import load_run_scenario

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

KEY = "sk-secret-0123456789"


def scenario(url: str, **keys: Any) -> dict[str, Any]:
    """Four short requests to a running server."""
    endpoint = {"type": "openai-completions", "urls": [url], "api_key_env": "MY_KEY", "extra_inputs": {"top_p": 0.9}}
    lengths = {"input_tokens": 8, "output_tokens": 3}
    return {"name": "running", "model": "m", "endpoint": endpoint, "workload": lengths, "load": [{"concurrency": 2, "requests": 4}]} | keys


def command(path: Path, tree: dict[str, Any], *flags: str) -> Result:
    (path / "running.yaml").write_text(yaml.safe_dump(tree))
    return CliRunner().invoke(main, ["serve-and-bench", str(path / "running.yaml"), *flags], catch_exceptions=False)


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")


def test_from_a_file_and_again_from_the_copy_in_the_run_directory(tmp_path: Path) -> None:
    with serving_openai(Manners(key=KEY)) as server:
        done = command(tmp_path, scenario(server.url))
        assert done.exit_code in (0, 4), done.output
        (first,) = (tmp_path / "runs").iterdir()
        again = trtbench.serve_and_bench(first / "scenario.yaml", runs=tmp_path / "again")
    assert server.bodies[-1]["top_p"] == 0.9
    recorded = load_run_scenario(first / "scenario.yaml")
    assert recorded == load_run_scenario(again.path / "scenario.yaml")
    assert recorded.endpoint is not None and recorded.endpoint.api_key_env == "MY_KEY" and not recorded.client.headers
    for run in (trtbench.load_run(first), again):
        (deployment,) = run.summary.deployments
        assert deployment.facts.mode == "external"
        (records,) = (one.requests() for one in RunDirectory.open(run.path).deployments())
        assert [record.outcome for record in records] == [Outcome.COMPLETED] * 4
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_an_unfinished_run_of_an_endpoint_is_resumed(tmp_path: Path) -> None:
    with serving_openai(Manners(key=KEY)) as server:
        run = trtbench.serve_and_bench(scenario(server.url), runs=tmp_path / "runs")
        path = Path(shutil.copytree(run.path, tmp_path / "killed"))  # this process holds the lock of the first
        events = path / "events.jsonl"
        events.write_bytes(b"".join(line for line in events.read_bytes().splitlines(True) if b'_finished"' not in line))
        done = CliRunner().invoke(main, ["serve-and-bench", "--resume", str(path)], catch_exceptions=False)
    assert done.exit_code in (0, 4), done.output
    resumed = trtbench.load_run(path)
    assert [event.to for event in every(resumed.events, AttemptSetAside)] == ["set-aside/m-1"]
    assert resumed.summary.complete and (path / "m" / "requests.parquet").is_file()


def test_a_dry_run_asks_no_server(tmp_path: Path) -> None:
    done = command(tmp_path, scenario("http://127.0.0.1:1"), "--dry-run")
    assert done.exit_code == 0
    assert "model m by openai-completions at http://127.0.0.1:1, which is not asked yet" in done.output


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"engines": ["int8"]}, "engines is for servers that trtbench starts"),
        ({"grid": {"max_sequences": [1, 2]}}, "grid is for servers that trtbench starts"),
        ({"model": None}, "model"),
        ({"client": {"headers": {"authorization": "x"}}}, "client.headers: authorization conflicts with the key of endpoint.api_key_env"),
        ({"client": {"tls": {}}}, "endpoint.urls: http://127.0.0.1:1 is not encrypted"),
        ({"endpoint": {"type": "kserve", "urls": ["h:1"], "extra_inputs": {"a": 1}}}, "endpoint.type"),
        ({"endpoint": {"urls": ["http://h:1"]}}, "endpoint.urls http://h:1: http is not gRPC"),
        (
            {"endpoint": {"urls": ["h:1", "grpcs://h:2"]}},
            "all servers must be addressed in one way",
        ),
        ({"endpoint": {"urls": ["h:1"], "metrics_url": "ftp://h"}}, "endpoint.metrics_url ftp://h"),
        ({"endpoint": {"urls": ["h:1"], "api_key_env": "NOT_SET"}}, "environment variable NOT_SET is not set"),
        ({"endpoint": {"urls": ["h:1"], "tokenizer": "nowhere"}}, "nowhere/tokenizer.json: no such file"),
        ({"workload": {"priorities": {1: 1}}}, "workload.priorities: requests to endpoint.type openai-completions name no priority"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_the_names_of_the_keys(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    done = command(tmp_path, scenario("http://127.0.0.1:1", **keys))
    assert done.exit_code == 2 and said in done.output, done.output
    assert "--" not in done.output and not (tmp_path / "runs").exists()


def test_turns_of_a_session_repeat_the_prompts_and_answers_before_them(tmp_path: Path) -> None:
    sessions = {"input_tokens": 4, "output_tokens": 3, "sessions": {"turns": 3}}
    with serving_openai(Manners(key=KEY)) as server:
        run = trtbench.serve_and_bench(scenario(server.url, workload=sessions, load=[{"concurrency": 1, "requests": 6}]), runs=tmp_path)
    (records,) = (one.requests() for one in RunDirectory.open(run.path).deployments())
    assert [record.outcome for record in records] == [Outcome.COMPLETED] * 6
    prompts = [body["prompt"] for body in server.bodies[-6:]]
    for before, after, record in ((0, 1, records[0]), (1, 2, records[1]), (3, 4, records[3]), (4, 5, records[4])):
        assert prompts[after][:-4] == [*prompts[before], *record.output_ids]
        assert len(record.output_ids) == 3 and records[after].input_tokens == len(prompts[after])


@pytest.mark.parametrize("given", [{"type": "openai-chat"}, {}])
def test_sessions_are_refused_where_answers_have_no_ids(tmp_path: Path, given: dict[str, str]) -> None:
    sessions = {"input_tokens": 4, "output_tokens": 3, "sessions": {"turns": 3}}
    tokenizer = write_byte_tokenizer(tmp_path / "bytes")
    with serving_openai(Manners(gives_ids=bool(given))) as server:
        endpoint = {"type": "openai-completions", "urls": [server.url], "tokenizer": str(tokenizer)} | given
        done = command(tmp_path, scenario(server.url, workload=sessions, endpoint=endpoint))
    assert done.exit_code == 2 and "workload.sessions: a turn repeats the answers before it as token ids" in done.output, done.output


def test_a_running_server_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "running.yaml").write_text(yaml.safe_dump(scenario("http://127.0.0.1:1")))
    done = CliRunner().invoke(main, ["serve", str(tmp_path / "running.yaml")])
    assert done.exit_code == 2 and "endpoint: its server runs already" in done.output


def test_python_names_keys_too() -> None:
    with pytest.raises(UserError, match=r"connection refused.*correct endpoint\.urls"):
        trtbench.serve_and_bench(scenario("http://127.0.0.1:1"))
