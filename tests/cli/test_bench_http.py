"""`trtbench bench` over HTTP, as a user types it: a run from its probe to its report, and a sentence for all that cannot be measured."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from tests.support.fakes.byte_tokenizer import write_byte_tokenizer
from tests.support.fakes.fake_openai import Manners, serving_openai
from tests.support.fakes.fake_servers import FakeServer
from trtbench.cli.main import main
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.process, pytest.mark.timeout(120), pytest.mark.usefixtures("sketched_figures")]

KEY = "sk-secret-0123456789"


def bench(url: str, *flags: str, endpoint: str = "completions", model: str = "m") -> Result:
    return CliRunner().invoke(main, ["bench", "--endpoint-type", endpoint, "--url", url, "--model", model, *flags], catch_exceptions=False)


def refused(done: Result, *parts: str) -> None:
    """The command ends before any load, with one line that has all these parts."""
    assert done.exit_code == 2, done.output
    (line,) = done.output.strip().splitlines()
    assert line.startswith("trtbench: ") and all(part in line for part in parts), line


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def the_run(path: Path) -> RunDirectory:
    (run,) = (path / "runs").iterdir()
    return RunDirectory.open(run)


def test_a_run_with_a_key_that_no_file_contains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving_openai(Manners(key=KEY, refuses=frozenset({"min_tokens"}), makes_tokens=3)) as server:
        done = bench(
            *(f"{server.url}/v1/", "--api-key-env", "MY_KEY", "--concurrency", "2", "--request-count", "4"),
            *("--isl", "8", "--osl", "5", "--extra-input", "top_p:0.9", "--extra-input", "user:me", "--header", "X-Team:blue"),
        )
    assert done.exit_code in (0, 4), done.output
    assert "Requests go to /v1/completions with the prompt as token ids" in done.output
    assert all("x-team: blue" in head.lower() for head in server.heads if head.startswith("POST"))
    assert server.bodies[-1]["top_p"] == 0.9 and server.bodies[-1]["user"] == "me"
    run = the_run(tmp_path)
    (deployment,) = run.deployments()
    facts = json.loads((deployment.path / "deployment.json").read_text())
    assert facts["endpoint"]["type"] == "openai-completions" and facts["endpoint"]["prompt"] == "ids"
    assert facts["endpoint"]["extra"] == {"top_p": 0.9, "user": "me"}
    assert list(facts["endpoint"]["refused"]) == ["min_tokens"]
    records = deployment.requests()
    assert [(record.outcome, record.output_tokens) for record in records] == [(Outcome.COMPLETED, 3)] * 4
    report = (run.path / "report.md").read_text()
    assert "openai-completions at /v1/completions" in report and "4 of 4 completed requests" in report
    assert not [path for path in run.path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(("language", "said"), [("en", "counts other lengths of prompts than planned"), ("zh", "提示词长度与计划不同")])
def test_a_chat_with_reasoning(tmp_path: Path, language: str, said: str) -> None:
    flags = (
        "--tokenizer",
        str(write_byte_tokenizer(tmp_path / "bytes")),
        "--request-count",
        "4",
        "--isl",
        "12",
        "--osl",
        "5",
        "--lang",
        language,
    )
    with serving_openai(Manners(reasoning_tokens=2)) as server:
        done = bench(server.url, *flags, "--system-prompt", "Be brief.", endpoint="chat")
    assert done.exit_code in (0, 4), done.output
    assert server.bodies[-1]["messages"][0] == {"role": "system", "content": "Be brief."}
    run = the_run(tmp_path)
    records = run.deployments()[0].requests()
    assert [(record.input_tokens, record.reasoning_responses) for record in records] == [(5, 2)] * 4
    assert all((record.planned_input_tokens or 0) >= 12 for record in records)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert said in report and "ttfo" in report and "Be brief." in report


def test_faults_under_load_are_counted_by_their_class(tmp_path: Path) -> None:
    with serving_openai(Manners(fault="rate_limit", faulty_from=6)) as server:
        done = bench(server.url, "--concurrency", "1", "--request-count", "4", "--isl", "8", "--osl", "3")
    assert done.exit_code in (0, 4), done.output
    (deployment,) = the_run(tmp_path).deployments()
    records = deployment.requests()
    refused_ones = [record for record in records if record.outcome is Outcome.REJECTED]
    assert len(records) == 4 and refused_ones and {record.retry_after_s for record in refused_ones} == {7.0}
    assert "429" in (the_run(tmp_path).path / "report.md").read_text()


def test_a_wrong_path() -> None:
    with serving_openai() as server:
        refused(bench(f"{server.url}/api"), "/api/v1/completions", "HTTP 404", "correct --endpoint-type, or the prefix in --url")


def test_a_wrong_key_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving_openai(Manners(key="another")) as server:
        refused(bench(server.url), "does not accept the credentials", "--api-key-env VARIABLE")
        done = bench(server.url, "--api-key-env", "MY_KEY")
        refused(done, "HTTP 401")
        assert KEY not in done.output


def test_an_unknown_model_with_those_that_are_there() -> None:
    with serving_openai(Manners(models=("llama", "qwen"))) as server:
        refused(bench(server.url), "no model 'm'", "it has llama, qwen")


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("page", ("a page of HTML", "Welcome to nginx", "correct the host")),
        ("redirect", ("redirects to http://elsewhere/", "give the final address")),
        ("not_json", ("give --no-streaming",)),
        ("overloaded", ("HTTP 503: overloaded", "see the server's log")),
        ("error_event", ("a first request failed", "CUDA error")),
    ],
)
def test_a_server_that_cannot_be_measured(fault: str, parts: tuple[str, ...]) -> None:
    with serving_openai(Manners(fault=fault)) as server:
        refused(bench(server.url), *parts)


def test_a_prompt_longer_than_the_model_takes() -> None:
    with serving_openai() as server:
        refused(bench(server.url, "--isl", "600", "--request-count", "1"), "a prompt has 600 tokens", "takes 512", "lower --isl")


def test_a_grpc_port_where_http_was_asked(fake_server: FakeServer) -> None:
    refused(bench(fake_server.url), "speaks only HTTP/2", "--endpoint-type kserve")


def test_an_http_port_where_grpc_was_asked() -> None:
    with serving_openai() as server:
        address = server.url.removeprefix("http://")
        refused(bench(address, endpoint="kserve"), "an HTTP/1 server answers there", "--endpoint-type")
        refused(bench(server.url, endpoint="kserve"), "http is not gRPC", "--endpoint-type")


def test_nobody_there() -> None:
    refused(bench("http://127.0.0.1:1"), "connection refused", "port 8000")


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serving_openai(tls=context) as server:
        refused(bench(server.url), "certificate is not trusted", "--tls-ca")
        refused(bench(server.url.replace("https", "http")), "the server speaks TLS", "write https://")
        done = bench(server.url, "--tls-ca", "ca.pem", "--request-count", "2", "--isl", "4", "--osl", "2")
        assert done.exit_code in (0, 4), done.output
    (deployment,) = the_run(tmp_path).deployments()
    assert {record.outcome for record in deployment.requests()} == {Outcome.COMPLETED}
    with serving_openai() as server:
        refused(bench(server.url.replace("http", "https")), "without TLS, and TLS was requested", "write http://")


def test_chat_needs_a_tokenizer_for_its_texts() -> None:
    with serving_openai() as server:
        refused(bench(server.url, "--request-count", "1", endpoint="chat"), "--tokenizer")


def test_a_server_that_counts_nothing_needs_a_tokenizer_too(tmp_path: Path) -> None:
    with serving_openai(Manners(gives_ids=False, gives_usage=False)) as server:
        refused(bench(server.url, "--request-count", "1"), "reports no number of tokens", "--tokenizer")
        flags = ("--tokenizer", str(write_byte_tokenizer(tmp_path / "bytes")), "--request-count", "2", "--isl", "4", "--osl", "3")
        done = bench(server.url, *flags)
    assert done.exit_code in (0, 4), done.output
    (deployment,) = the_run(tmp_path).deployments()
    assert [record.text_tokens for record in deployment.requests()] == [6, 6]  # three times a blank and a letter


def test_two_servers_that_differ_cannot_be_one_run() -> None:
    with serving_openai() as one, serving_openai(Manners(gives_ids=False)) as two:
        refused(bench(one.url, "--url", two.url), one.url, two.url, "measure each in a run of its own")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--extra-input", "stream:true"), ("--extra-input: trtbench sets this key itself (stream)",)),
        (("--extra-input", "x"), ("--extra-input x", "write KEY:VALUE")),
        (("--extra-input", "x:1", "--extra-input", "x:2"), ("given twice",)),
        (("--api-key-env", "NOT_SET_ANYWHERE"), ("environment variable NOT_SET_ANYWHERE is not set",)),
        (("--api-key-file", "missing"), ("--api-key-file missing", "cannot be read")),
        (("--system-prompt", "hi"), ("--system-prompt is for", "openai-chat")),
        (("--task", "embed"), ("--endpoint-type kserve", "--task embed")),
        (("--model-version", "2"), ("--model-version 2", "leave it out")),
        (("--streams-per-connection", "4"), ("--streams-per-connection 4", "carries one request")),
    ],
)
def test_flags_that_do_not_fit(flags: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refused(bench("http://127.0.0.1:1", *flags), *parts)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://h:1", "ftp is not HTTP"),
        ("http://", "write http://HOST:PORT"),
        ("http://user:pw@h:1", "a user name and a password"),
        ("http://h:99999", "write http://HOST:PORT"),
        ("http://h:1?x=1", "write http://HOST:PORT"),
    ],
)
def test_addresses_that_are_none(url: str, part: str) -> None:
    refused(bench(url), "--url", part)


@pytest.mark.parametrize("name", ["chat", "openai-chat", "OPENAI-CHAT"])
def test_other_tools_names_of_endpoints(name: str) -> None:
    done = bench("http://127.0.0.1:1", "--dry-run", endpoint=name)
    assert done.exit_code == 0 and "http://127.0.0.1:1" in done.output
