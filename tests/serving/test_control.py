"""The repository API, against a server that says what Triton says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from trtbench.serving.control import ControlError, ModelControl
from trtbench.serving.live_repository import LiveRepository, reloadable
from trtbench.serving.model_repository import KvBudget, RenderedRepository

ANSWERS: dict[str, tuple[int, Any]] = {
    "/v2/repository/index": (
        200,
        [{"name": "m", "version": "2", "state": "READY"}, {"name": "m", "version": "1", "state": "UNLOADING"}, {"name": "other"}],
    ),
    "/v2/repository/models/m/load": (400, {"error": "load failed for model 'm': version 3 is at UNAVAILABLE state"}),
    "/v2/repository/models/m/unload": (200, None),
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = ANSWERS[self.path]
        body = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def control() -> Iterator[ModelControl]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield ModelControl(f"127.0.0.1:{server.server_port}", "m")
        server.shutdown()
        thread.join()


def test_states_by_version_of_this_model_alone(control: ModelControl) -> None:
    assert control.versions() == {"1": "UNLOADING", "2": "READY"}


def test_a_refused_load_carries_the_servers_own_words(control: ModelControl) -> None:
    with pytest.raises(ControlError, match="load failed for model 'm': version 3 is at UNAVAILABLE state"):
        control.load()


def test_an_unload_that_is_accepted_says_nothing(control: ModelControl) -> None:
    control.unload()


def test_a_server_that_is_gone() -> None:
    with pytest.raises(ControlError, match=r"127\.0\.0\.1:9"):
        ModelControl("127.0.0.1:9", "m").versions()


@pytest.fixture
def live(tmp_path: Path) -> tuple[Path, LiveRepository]:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.py").write_text("good = True\n")
    config = "dynamic_batching { max_queue_delay_microseconds: 100 }\n"
    repository = reloadable(RenderedRepository("m", config, source, KvBudget(1, 32, "fp16", 1, 1)))
    assert {"--model-control-mode=explicit", "--load-model=m"} <= set(repository.server_flags)
    root = repository.write(tmp_path / "repository")
    return root / "m", LiveRepository(root, repository)


def test_versions_are_added_and_a_broken_one_is_taken_away(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    assert repository.add_version() == "2"
    with pytest.raises(KeyboardInterrupt), repository.broken_version() as version:
        assert version == "3"
        assert "broken on purpose" in (model / "3" / "model.py").read_text()
        raise KeyboardInterrupt
    assert sorted(path.name for path in model.iterdir()) == ["1", "2", "config.pbtxt"]
    assert (model / "2" / "model.py").read_text() == "good = True\n"


def test_a_changed_delay_outlives_another_engine(live: tuple[Path, LiveRepository]) -> None:
    model, repository = live
    repository.set_queue_delay(2500)
    repository.add_version("dynamic_batching { max_queue_delay_microseconds: 100 } # other\n")
    assert (model / "config.pbtxt").read_text() == "dynamic_batching { max_queue_delay_microseconds: 2500 } # other\n"


def test_a_delay_needs_a_batcher(live: tuple[Path, LiveRepository]) -> None:
    _, repository = live
    repository.add_version("no batcher\n")
    with pytest.raises(ValueError, match="no dynamic_batching"):
        repository.set_queue_delay(1)
