from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.fakes.http2_servers import H2Server
from trtbench.cli.flags.header_flags import headers_of, without_values
from trtbench.cli.main import main
from trtbench.client.http2.wire_connection import WireConnection
from trtbench.errors import UserError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import FromEnvironment, metadata_of
from trtbench.scenario.parts.part import ScenarioError
from trtbench.telemetry.sources import SampledServer, SamplerConfig


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "Bearer s3cret")
    for number in range(3):
        monkeypatch.setenv(f"TRTBENCH_HEADER_{number}", "")


@pytest.mark.parametrize("text", ["Authorization:Bearer s3cret", "authorization: Bearer s3cret ", "authorization=Bearer s3cret"])
def test_a_value_of_the_command_line_reaches_the_environment_only(text: str) -> None:
    headers = headers_of([text], ["x-key:TOKEN"])
    assert headers == {"authorization": {"env": "TRTBENCH_HEADER_0"}, "x-key": {"env": "TOKEN"}}
    settings = ClientSettings.model_validate({"headers": headers})
    assert metadata_of(settings.headers) == (("authorization", "Bearer s3cret"), ("x-key", "Bearer s3cret"))
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize(
    "text", ["s3cret", "", ":s3cret", "a:", "bad key:s3cret", "grpc-x:s3cret", "content-type:s3cret", "x-bin:s3cret",
             "a:s3cret\x1b", "a:s3cret\nx: y", "a:é", "ä:s3cret", "a:" + "s3cret" * 1000, "n" * 101 + ":s3cret"],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(UserError) as raised:
        headers_of([text], [])
    assert "s3cret" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_header_given_twice() -> None:
    with pytest.raises(UserError, match="duplicate name a; give each name once"):
        headers_of(["a:1", "A:2"], [])
    with pytest.raises(ValueError, match="'a' is given twice"):
        ClientSettings(headers={"a": "1", "A": "2"})


def test_a_variable_that_is_not_set_or_holds_what_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError, match="header 'a': environment variable NOT_SET is not set; export it"):
        metadata_of({"a": FromEnvironment(env="NOT_SET")})
    monkeypatch.setenv("TOKEN", "s3cret\n")
    with pytest.raises(ScenarioError, match="environment variable TOKEN") as raised:
        metadata_of({"a": FromEnvironment(env="TOKEN")})
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("words", [["--header", "a:s3cret"], ["--header=a:s3cret"], ["-H", "a:s3cret"], ["-Ha:s3cret"], ["-H=a:s3cret"]])
def test_a_recorded_command_has_no_values(words: list[str]) -> None:
    kept = without_values(["trtbench", "bench", *words, "--header-env", "b:TOKEN", "--url", "h:1"])
    assert "s3cret" not in " ".join(kept)
    assert "a:..." in " ".join(kept)
    assert kept[-4:] == ["--header-env", "b:TOKEN", "--url", "h:1"]


def test_the_wire_sends_them_with_every_stream_and_keeps_them_out_of_tables() -> None:
    server = H2Server(WireConnection("h:1", metadata=(("authorization", "Bearer s3cret"),)))
    server.pump()
    for _ in range(2):
        server.client.open_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    server.pump()
    requests = [dict(event.headers) for event in server.received if hasattr(event, "headers")]
    assert [request["authorization"] for request in requests] == ["Bearer s3cret"] * 2


def test_the_samplers_command_line_has_no_secret() -> None:
    settings = ClientSettings(headers={"a": FromEnvironment(env="TOKEN"), "b": "open"})
    config = SamplerConfig((SampledServer("h:1", None, None),), "m", os.getpid(), 1, False, headers=settings.headers)
    assert "s3cret" not in config.to_json()
    assert SamplerConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["headers"] == {"a": {"env": "TOKEN", "prefix": ""}, "b": "open"}


def test_on_the_command_line_both_spellings(tmp_path: Path) -> None:
    for flags in (["-H", "bad key:s3cret"], ["--header", "bad key:s3cret"]):
        done = CliRunner().invoke(main, ["bench", "--url", "127.0.0.1:1", "--model", "m", *flags, "--artifact-dir", str(tmp_path)])
        assert (done.exit_code, "s3cret" in done.output) == (2, False)
        assert "write NAME:VALUE" in done.output
