"""`trtbench bench` against a server that somebody else runs: the session's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.command import Command, ran
from tests.support.triton.kserve import Serving
from trtbench.cli.main import main
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.registry import CLIENTS, TRITON_CLIENT
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome
from trtbench.serving.server.server import free_ports

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("sketched_figures")]


def trtbench(*arguments: str) -> Result:
    """In this process, which has imported already what a command imports."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def bench(url: str, model: str, runs: Path, *flags: str) -> Result:
    return trtbench("bench", "--url", url, "--model", model, "--artifact-dir", str(runs), *flags)


def the_run(runs: Path) -> RunDirectory:
    (path,) = runs.iterdir()
    return RunDirectory.open(path)


def test_levels_of_users_with_the_models_own_tokens(int8_server: Serving, tmp_path: Path) -> None:
    command = Command(
        *(tmp_path, "bench", "-u", int8_server.url, "-m", int8_server.engine.model, "--artifact-dir", str(tmp_path / "runs")),
        *("--tokenizer", str(int8_server.engine.path), "--metrics-url", int8_server.metrics_url),
        *("--engine-dir", str(int8_server.engine.path)),
        *("--max-concurrency", "1,3", "--num-prompts", "5", "--warmup-request-count", "1", "--isl", "8:12", "--osl", "4"),
        *("--goodput", "ttft:60000 e2e:60000", "--random-seed", "5"),
        draws=True,
    )
    assert ran(command.wait(), tmp_path), command.err
    run = the_run(tmp_path / "runs")
    assert run.is_complete()
    (deployment,) = run.deployments()
    facts = read_json(deployment.path / "deployment.json")
    assert (facts["mode"], facts["url"], facts["max_batch_size"]) == ("external", int8_server.url, 8)
    assert facts["triton_version"]
    assert (facts["dtype"], facts["provider"]) == ("int8", "openvino")
    assert read_json(deployment.path / "engine.json")["options"]["claimed_from"] == str(int8_server.engine.path)
    records = deployment.requests()
    assert Counter((record.stage, record.warmup) for record in records) == {
        (s, w): 1 if w else 5 for s in ("c1", "c3") for w in (False, True)
    }
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert {record.output_tokens for record in records} == {4}
    assert {record.input_tokens for record in records} <= set(range(8, 13))
    assert all(record.server for record in records)
    samples = deployment.samples()
    assert samples.series("kv_blocks_max")[1].max() == 24
    assert "server_rss_bytes" not in samples.names()  # somebody else's process
    assert "client_rss_bytes" in samples.names()
    summary = json.dumps(read_json(run.path / "summary.json"))
    assert "goodput" in summary
    assert (run.path / "report.html").is_file()
    assert str(run.path / "report.md") in command.out
    assert int8_server.server.exit_code() is None  # nobody stopped it


def test_a_rate_with_random_ids_and_no_metrics(int8_server: Serving, tmp_path: Path) -> None:
    done = bench(
        *(int8_server.url, int8_server.engine.model, tmp_path / "runs", "--vocab-size", "1000", "--quiet", "--lang", "zh"),
        *("--request-rate", "6", "--benchmark-duration", "2", "--isl", "10", "--osl", "3", "--model-version", "1"),
    )
    assert ran(done.exit_code, tmp_path), done.stderr
    assert done.stderr == ""
    run = the_run(tmp_path / "runs")
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert records
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert {record.stage for record in records} == {"poisson-6"}
    rows = [json.loads(line) for line in deployment.plan_jsonl.read_text().splitlines()]
    assert all(max(row["input_ids"]) < 1000 for row in rows if "prompt" in row)
    assert "kv_blocks_max" not in deployment.samples().names()
    assert "triton_inference_count" in deployment.samples().names()
    assert "并发" in (run.path / "report.md").read_text()


def test_bursts_whose_responses_come_in_one_piece(int8_server: Serving, tmp_path: Path) -> None:
    done = bench(
        *(int8_server.url, int8_server.engine.model, tmp_path / "runs", "--no-streaming", "--burstiness", "0.5"),
        *("--request-rate", "8", "--request-count", "6", "--isl", "10", "--osl", "3"),
    )
    assert ran(done.exit_code, tmp_path), done.stderr
    run = the_run(tmp_path / "runs")
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert [(record.outcome, record.token_counts) for record in records] == [(Outcome.COMPLETED, [3])] * 6
    (stage,) = [event.data for event in run.events() if event.kind == "stage_finished"]
    assert (stage["mode"], stage["asked"], stage["planned"]) == ("gamma", 8, 6)


def test_nobody_there(tmp_path: Path) -> None:
    command = Command(tmp_path, "bench", "-u", f"127.0.0.1:{free_ports(1)[0]}", "-m", "m", "--artifact-dir", str(tmp_path / "runs"))
    check_refusal(command.wait(), command.err, "connection refused, no program listens on this port")
    assert not (tmp_path / "runs").exists()


def refused(url: str, model: str, runs: Path, says: str, *flags: str) -> None:
    result = bench(url, model, runs, *flags)
    check_refusal(result.exit_code, result.stderr, says)
    assert not runs.exists()


def check_refusal(code: int, err: str, says: str) -> None:
    assert code == 2, err
    assert err.startswith("trtbench: ")
    assert says in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_a_server_without_this_model(int8_server: Serving, tmp_path: Path) -> None:
    refused(int8_server.url, "llama", tmp_path / "runs", "the server has no model 'llama'; it has smollm2-135m")


def test_a_version_that_is_not_there(int8_server: Serving, tmp_path: Path) -> None:
    refused(int8_server.url, int8_server.engine.model, tmp_path / "runs", "version 7 is not ready", "--model-version", "7")


def test_the_http_port_instead_of_grpcs(int8_server: Serving, tmp_path: Path) -> None:
    refused(int8_server.server.endpoints.http, int8_server.engine.model, tmp_path / "runs", "an HTTP/1 server answers there")


def test_a_tokenizer_that_is_none(int8_server: Serving, tmp_path: Path) -> None:
    says = "tokenizer.json: no such file"
    refused(int8_server.url, int8_server.engine.model, tmp_path / "runs", says, "--tokenizer", str(tmp_path))


def test_an_artifact_directory_that_cannot_be_written(int8_server: Serving, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(int8_server.url, int8_server.engine.model, tmp_path / "file" / "runs", "cannot be written to")


def test_a_server_that_stops_answering_is_named(int8_server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that it was ready, then goes before the load connects."""

    (closed,) = free_ports(1)

    def inspect(*args: Any, **more: Any) -> KserveTarget:
        return replace(inspect_target(*args, **more), url=f"127.0.0.1:{closed}")

    monkeypatch.setitem(CLIENTS, KserveTarget.client, replace(TRITON_CLIENT, inspect=inspect))
    result = bench(int8_server.url, int8_server.engine.model, tmp_path / "runs", "--request-count", "1")
    assert result.exit_code == 1
    assert f"trtbench: 127.0.0.1:{closed}: connection refused" in result.stderr
    assert not the_run(tmp_path / "runs").is_complete()


def test_a_run_in_which_nothing_completed_is_no_success(int8_server: Serving, tmp_path: Path) -> None:
    done = bench(int8_server.url, int8_server.engine.model, tmp_path / "runs", "--isl", "900", "--osl", "4", "--request-count", "3")
    assert done.exit_code == 1  # 904 tokens never fit the server's 768
    assert "Not one request completed." in done.stdout
    assert "ended as too_long. Most frequent message: " in done.stdout
    (deployment,) = the_run(tmp_path / "runs").deployments()
    assert {record.outcome for record in deployment.requests()} == {Outcome.TOO_LONG}


def test_a_rate_with_a_bound_by_the_flags_of_other_tools(int8_server: Serving, tmp_path: Path) -> None:
    flags = (
        *("--request-rate", "200", "--max-concurrency", "2", "--num-prompts", "12"),
        *("--random-input-len", "8", "--random-output-len", "3"),
    )
    address = ("-u", int8_server.url, "-m", int8_server.engine.model)
    done = trtbench(
        "bench", *address, "--result-dir", str(tmp_path / "runs"), *flags, "--goodput", "ttft:60000", "e2el:60s", "--disable-tqdm"
    )
    assert done.exit_code == 0, done.stderr
    run = the_run(tmp_path / "runs")
    (deployment,) = run.deployments()
    records = sorted(deployment.requests(), key=lambda record: record.sent_ns or 0)
    assert [(record.stage, record.outcome) for record in records] == [("poisson-200-max2", Outcome.COMPLETED)] * 12
    for record in records:
        assert sum((other.sent_ns or 0) <= (record.sent_ns or 0) < (other.done_ns or 0) for other in records) <= 2
    lags_ns = [(record.sent_ns or 0) - (record.admitted_ns or record.due_ns) for record in records]
    assert max(lags_ns) < 50_000_000  # the wait for a place is not a lag of the client
    assert any(record.admitted_ns for record in records)
    assert "At most 2 requests were in flight" in (run.path / "report.md").read_text()


def test_rows_of_a_dataset_that_cannot_be_sent_are_counted_in_the_report(int8_server: Serving, tmp_path: Path) -> None:
    """A lone surrogate failed when its row was drawn, null was asked as the word None, and messages were no format."""
    rows = [
        '{"prompt": "What is a queue?", "output_tokens": 3}',
        '{"messages": [{"role": "user", "content": "What is a stack?"}], "max_tokens": 3}',
        '{"text_input": ["What is a tree?"], "max_tokens": [3]}',
        '{"prompt": null}',
        '{"prompt": "\\ud800"}',
    ]
    (tmp_path / "rows.jsonl").write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    done = bench(
        *(int8_server.url, int8_server.engine.model, tmp_path / "runs", "--tokenizer", str(int8_server.engine.path)),
        *("--input-file", str(tmp_path / "rows.jsonl"), "--max-concurrency", "2", "--num-prompts", "6"),
    )
    assert ran(done.exit_code, tmp_path), done.stderr
    assert "rows.jsonl: 2 of 5 rows were left out" in done.stdout + done.stderr
    run = the_run(tmp_path / "runs")
    records = run.deployments()[0].requests()
    assert {(record.outcome, record.output_tokens) for record in records} == {(Outcome.COMPLETED, 3)}
    summary = read_json(run.path / "summary.json")
    assert [(one["rows"], one["left_out"]) for one in summary["request_data"]] == [(5, 2)]
    assert "input_left_out_much" in {reason["code"] for reason in summary["verdict"]["reasons"]}
    assert "rows.jsonl:4" in (run.path / "report.md").read_text(encoding="utf-8")
