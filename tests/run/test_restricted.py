"""A real Triton that restricts what it answers (--grpc-restricted-protocol), and one whose other model is broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from trtbench.cli.main import main
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import TargetError
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import DIRECTORY, MODEL
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("sketched_figures")]
KEY = "triton-grpc-protocol-admin"
BROKEN = """
name: "broken" backend: "python" max_batch_size: 0
input [{ name: "IN" data_type: TYPE_INT32 dims: [1] }] output [{ name: "OUT" data_type: TYPE_INT32 dims: [1] }]
"""


@pytest.fixture(scope="module")
def restricted(installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The calibration model and one that does not load; all but inference and health wants a header."""
    directory = tmp_path_factory.mktemp("restricted")
    repository = directory / "model_repository"
    shutil.copytree(DIRECTORY, repository / MODEL, ignore=shutil.ignore_patterns("__pycache__"))
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "1" / "model.py").write_text("raise RuntimeError('\\x1b[31mbroken')")
    (repository / "broken" / "config.pbtxt").write_text(BROKEN)
    flags = (
        "--disable-auto-complete-config",
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--grpc-restricted-protocol=model-repository,model-config,statistics:admin=s3cret",
    )
    with TritonServer(installation, repository, directory / "server.log", flags) as server:
        yield server


def bench(server: TritonServer, runs: Path, *flags: str) -> tuple[int, str]:
    address = ("--url", server.endpoints.grpc, "--model", MODEL, "--artifact-dir", str(runs), "--metrics-url", server.endpoints.metrics)
    load = ("--request-count", "2", "--isl", "2", "--osl", "2", "--vocab-size", "1000")
    done = CliRunner().invoke(main, ["bench", *address, *load, *flags])
    return done.exit_code, done.output


def test_the_run_goes_on_with_what_the_server_answers(restricted: TritonServer, tmp_path: Path) -> None:
    code, output = bench(restricted, tmp_path / "runs")
    assert code == 0, output
    for call in ("ModelConfig", "ModelStatistics"):
        assert f"The server did not answer {call} (UNAVAILABLE: This protocol is restricted, expecting header '{KEY}')" in output
    (path,) = (tmp_path / "runs").iterdir()
    (deployment,) = RunDirectory.open(path).deployments()
    facts = read_json(deployment.path / "deployment.json")
    assert (set(facts["unanswered_calls"]), facts["max_batch_size"]) == ({"ModelConfig", "ModelStatistics"}, None)
    assert "Calls without an answer" in (path / "report.md").read_text()


def test_headers_open_what_is_restricted_and_stay_out_of_every_file(
    restricted: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_KEY", "s3cret")
    code, output = bench(restricted, tmp_path / "runs", "--header-env", f"{KEY}:TRITON_KEY")
    assert code == 0, output
    assert "did not answer" not in output
    (path,) = (tmp_path / "runs").iterdir()
    (deployment,) = RunDirectory.open(path).deployments()
    assert read_json(deployment.path / "deployment.json")["unanswered_calls"] == {}
    assert "triton_inference_count" in deployment.samples().names()
    assert all(b"s3cret" not in file.read_bytes() for file in path.rglob("*") if file.is_file())
    assert KEY in (path / "scenario.yaml").read_text()


def test_only_our_models_readiness_counts(restricted: TritonServer) -> None:
    with pytest.raises(TargetError, match="'broken' is not ready, and the server gives no reason"):
        inspect_target(restricted.endpoints.grpc, "broken")
    with pytest.raises(TargetError, match=r"'broken' is not ready: state UNAVAILABLE \(.*broken") as raised:
        inspect_target(restricted.endpoints.grpc, "broken", settings=ClientSettings(headers={KEY: "s3cret"}))
    assert json.dumps(str(raised.value)).find("\\u001b") < 0


def test_the_ports_of_triton_that_are_not_grpc(restricted: TritonServer, tmp_path: Path) -> None:
    for port in (restricted.endpoints.http, restricted.endpoints.metrics):
        done = CliRunner().invoke(main, ["bench", "--url", port, "--model", MODEL, "--artifact-dir", str(tmp_path / "runs")])
        assert (done.exit_code, (tmp_path / "runs").exists()) == (2, False)
        assert "an HTTP/1 server answers there" in done.output
        assert len(done.output.splitlines()) == 1
