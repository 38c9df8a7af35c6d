"""The repository API, against a server that says what Triton says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from trtbench.experiments.hot_reload.live_repository import Change, LiveRepository, reloadable
from trtbench.experiments.hot_reload.model_control import ControlError, ExplicitControl, PolledControl
from trtbench.experiments.hot_reload.spec import HotReload, Reload, VersionPolicy
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository

ANSWERS: dict[str, tuple[int, Any]] = {
    "/v2/repository/index": (
        200,
        [
            {"name": "m", "version": "2", "state": "READY"},
            {"name": "m", "version": "1", "state": "UNLOADING"},
            {"name": "m", "version": "3", "state": "UNAVAILABLE", "reason": "broken on purpose"},
            {"name": "other", "version": "9", "state": "READY"},
            {"name": "bare"},
        ],
    ),
    "/v2/models/m/ready": (200, None),
    "/v2/models/gone/ready": (400, None),
    "/v2/models/m/config": (200, {"parameters": {"trtbench_revision": {"string_value": "4"}}}),
    "/v2/repository/models/m/load": (400, {"error": "load failed for model 'm': version 3 is at UNAVAILABLE state"}),
    "/v2/repository/models/m/unload": (200, None),
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        status, answer = ANSWERS[self.path]
        body = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.process
def test_states_by_version_of_the_models_asked_for(address: str) -> None:
    assert ExplicitControl(address).versions(["m"]) == {"1": "UNLOADING", "2": "READY", "3": "UNAVAILABLE"}
    assert ExplicitControl(address).versions(["m", "other"])["9"] == "READY"


@pytest.mark.process
def test_a_refused_load_carries_the_servers_own_words(address: str) -> None:
    with pytest.raises(ControlError, match="load failed for model 'm': version 3 is at UNAVAILABLE state"):
        ExplicitControl(address).load(Change("m", "3", "1"))


@pytest.mark.process
def test_an_unload_that_is_accepted_says_nothing(address: str) -> None:
    ExplicitControl(address).unload("m")


@pytest.mark.process
def test_a_server_that_is_gone() -> None:
    with pytest.raises(ControlError, match=r"127\.0\.0\.1:9"):
        ExplicitControl("127.0.0.1:9").versions(["m"])


@pytest.mark.process
def test_polled_a_load_is_over_when_the_version_serves_under_its_config(address: str) -> None:
    control = PolledControl(address, timeout_s=0.2)
    control.load(Change("m", "2", "4"))
    with pytest.raises(ControlError, match=r"m version 2 is not served 0.2 s after its files were written"):
        control.load(Change("m", "2", "5"))  # the same version, under a config that is not yet served
    with pytest.raises(ControlError, match="broken on purpose"):
        control.load(Change("m", "3", "4"))


@pytest.mark.process
def test_polled_an_unload_is_over_when_nothing_of_it_is_ready(address: str) -> None:
    control = PolledControl(address, timeout_s=0.2)
    control.unload("gone")
    with pytest.raises(ControlError, match="m is still served"):
        control.unload("m")


CONFIG = """name: "m"
dynamic_batching { max_queue_delay_microseconds: 100 }
parameters { key: "engine_dir" value { string_value: "%s" } }
"""


@pytest.fixture
def live(tmp_path: Path) -> tuple[Path, LiveRepository]:
    source, engine = tmp_path / "source", tmp_path / "engine"
    source.mkdir()
    (source / "model.py").write_text("good = True\n")
    engine.mkdir()
    (engine / "weights.bin").write_bytes(b"w" * 1000)
    (engine / "config.json").write_text("{}")
    asked = HotReload(reloads=(Reload(kind="new_version"),))
    repository = reloadable(RenderedRepository("m", CONFIG % engine, source, KvBudget(1, 32, "fp16", 1, 1)), asked)
    assert {"--model-control-mode=explicit", "--load-model=m"} <= set(repository.server_flags)
    root = repository.write(tmp_path / "repository")
    return root / "m", LiveRepository(root, repository)


@pytest.mark.parametrize("versions", [1, 2])
def test_as_many_of_the_latest_versions_as_asked_are_served(tmp_path: Path, versions: int) -> None:
    asked = HotReload(reloads=(Reload(kind="new_version"),), version_policy=VersionPolicy(latest=versions))
    repository = reloadable(RenderedRepository("m", CONFIG, tmp_path, KvBudget(1, 32, "fp16", 1, 1)), asked)
    assert repository.config.endswith(f"version_policy {{ latest {{ num_versions: {versions} }} }}\n")


def test_older_versions_have_no_engine_of_their_own() -> None:
    switch = (Reload(kind="new_version", to="int8"),)
    assert HotReload(reloads=switch).version_policy.latest == 1
    assert HotReload(reloads=(Reload(kind="blue_green", to="int8"),), version_policy=VersionPolicy(latest=2)).engines == ("int8",)
    with pytest.raises(ValueError, match=r"version_policy.latest \(2\) keeps older versions, but new_version to int8"):
        HotReload(reloads=switch, version_policy=VersionPolicy(latest=2))


def test_flags_of_a_polling_server(tmp_path: Path) -> None:
    asked = HotReload(reloads=(Reload(kind="new_version"),), control="poll", poll_s=2)
    flags = reloadable(RenderedRepository("m", "", tmp_path, KvBudget(1, 32, "fp16", 1, 1)), asked).server_flags
    assert flags[-2:] == ("--model-control-mode=poll", "--repository-poll-secs=2")


def names(model: Path) -> list[str]:
    return sorted(path.name for path in model.iterdir())


def test_versions_are_added_and_a_broken_one_is_taken_away(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    assert repository.add_version() == Change("m", "2", "1")
    with pytest.raises(KeyboardInterrupt), repository.broken_version("model") as change:
        assert change.version == "3"
        assert "broken on purpose" in (model / "3" / "model.py").read_text()
        raise KeyboardInterrupt
    assert names(model) == ["1", "2", "config.pbtxt"] and names(model.parent) == ["m"]
    assert (model / "2" / "model.py").read_text() == "good = True\n"
    assert repository.same().version == "2"


def test_a_broken_engine_has_half_its_weights_and_leaves_no_trace(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    before = (model / "config.pbtxt").read_text()
    with repository.broken_version("engine") as change:
        engine = model.parent.parent / "repository.staged" / f"broken-engine-{change.version}"
        assert f'"{engine}"' in (model / "config.pbtxt").read_text()
        assert (engine / "weights.bin").stat().st_size == 500 and (engine / "config.json").read_text() == "{}"
    assert names(model) == ["1", "config.pbtxt"] and not engine.exists()
    assert (model / "config.pbtxt").read_text().startswith(before)


def test_the_other_model_takes_turns_and_no_version_number_comes_twice(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    green = repository.add_model()
    assert (green.model, green.version) == ("m-green", "2")
    assert names(model.parent) == ["m", "m-green"]
    assert (model.parent / "m-green" / "config.pbtxt").read_text().startswith('name: "m-green"\n')
    repository.serve(green)
    repository.remove("m")
    assert names(model.parent) == ["m-green"]
    assert repository.add_version() == Change("m-green", "3", "2")
    blue = repository.add_model()
    assert (blue.model, blue.version) == ("m", "4")
    repository.remove(blue.model)  # it did not load: the other serves on
    assert repository.same().model == "m-green"


def test_a_model_that_is_taken_away_comes_back_as_it_was(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    repository.take_away("m")
    assert not model.exists()
    repository.put_back("m")
    assert names(model) == ["1", "config.pbtxt"]


def test_warm_up_is_in_the_config_while_it_is_asked_for(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    repository.warms_up = True
    repository.add_version()
    assert "model_warmup" in (model / "config.pbtxt").read_text()
    assert (model / "warmup" / "request_output_len").read_bytes() == b"\4\0\0\0"
    repository.warms_up = False
    repository.same()
    assert "model_warmup" not in (model / "config.pbtxt").read_text()


def test_the_warm_up_asks_for_what_the_model_takes(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    repository.warms_up = True
    repository.add_version('input [ { name: "input_ids" } ]\n')
    encoder = (model / "config.pbtxt").read_text()
    repository.add_version('input [ { name: "input_ids" }, { name: "input_lengths" }, { name: "request_output_len" } ]\n')
    generator = (model / "config.pbtxt").read_text()
    files = ['input_data_file: "input_lengths"', 'input_data_file: "request_output_len"']
    assert [one in encoder for one in files] == [False, False] and 'key: "input_ids"' in encoder
    assert [one in generator for one in files] == [True, True]


def test_a_new_version_has_the_files_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    repository = RenderedRepository("m", CONFIG, tmp_path / "source", None, files={"tensors.py": "shared\n"})
    root = repository.write(tmp_path / "repository")
    LiveRepository(root, repository).add_version()
    assert [(root / "m" / version / "tensors.py").read_text() for version in "12"] == ["shared\n", "shared\n"]


def test_a_changed_delay_outlives_another_engine(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    repository.set_queue_delay(2500)
    repository.add_version("dynamic_batching { max_queue_delay_microseconds: 100 } # other\n")
    assert (model / "config.pbtxt").read_text().startswith("dynamic_batching { max_queue_delay_microseconds: 2500 } # other\n")


def test_a_delay_needs_a_batcher_and_a_broken_engine_an_engine(live: tuple[Path, LiveRepository]) -> None:
    _, repository = live
    repository.add_version("no batcher\n")
    with pytest.raises(ValueError, match="no dynamic_batching"):
        repository.set_queue_delay(1)
    with pytest.raises(ValueError, match="names no engine"), repository.broken_version("engine"):
        pass
