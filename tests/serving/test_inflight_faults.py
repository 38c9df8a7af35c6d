"""The CPU model's engine thread outlives what its engine does: a fake engine that gives requests up, or raises."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections import deque
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

INFLIGHT = Path(__file__).parents[2] / "model_repo" / "openvino" / "1" / "inflight.py"
SETTINGS = {"max_sequences": "4", "kv_blocks": "8", "block_tokens": "32", "prefix_caching": "true"}
RUNNING, FINISHED, IGNORED = "running", "finished", "ignored"


class FakeHandle:
    """Answers to read one after another: a list of tokens, or None where the engine gives the request up."""

    def __init__(self, *answers: list[int] | None) -> None:
        self._answers = deque(answers)
        self._status = RUNNING
        self.cancelled = False

    def can_read(self) -> bool:
        return bool(self._answers)

    def read(self) -> dict[int, Any]:
        tokens = self._answers.popleft()
        self._status = IGNORED if tokens is None else FINISHED if not self._answers else RUNNING
        return {} if tokens is None else {0: SimpleNamespace(generated_ids=tokens)}

    def get_status(self) -> str:
        return self._status

    def cancel(self) -> None:
        self.cancelled = True


class FakePipeline:
    def __init__(self) -> None:
        self.faults: deque[Exception] = deque()

    def add_request(self, _number: int, _ids: Any, handle: FakeHandle) -> FakeHandle:
        return handle

    def step(self) -> None:
        if self.faults:
            raise self.faults.popleft()

    def get_metrics(self) -> Any:
        return SimpleNamespace(scheduled_requests=1, cache_usage=0.0, kv_cache_size_in_bytes=0)


class Asked:
    """What the thread sees of a request: `config` goes to the engine, which here is the handle itself."""

    def __init__(self, *answers: list[int] | None) -> None:
        self.config = FakeHandle(*answers)
        self.input_ids = MagicMock(__len__=lambda _: 3)
        self.handle: FakeHandle | None = None
        self.first_scheduled_ns = self.first_token_ns = self.output_tokens = 0
        self.sent: list[int] = []
        self.error = ""
        self.over = threading.Event()

    def is_cancelled(self) -> bool:
        return False

    def send_tokens(self, token_ids: list[int], _end_ns: int, final: bool) -> None:
        self.sent += token_ids
        if final:
            self.over.set()

    def send_error(self, message: str, _code: Any) -> None:
        self.error = message
        self.over.set()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    engine = MagicMock()
    engine.py_openvino_genai.GenerationStatus = SimpleNamespace(RUNNING=RUNNING, FINISHED=FINISHED, IGNORED=IGNORED)
    triton = MagicMock(TritonModelException=type("TritonModelException", (Exception,), {}))
    for name, fake in {
        "openvino": MagicMock(),
        "openvino_genai": engine,
        "processor": MagicMock(),
        "triton_python_backend_utils": triton,
    }.items():
        monkeypatch.setitem(sys.modules, name, fake)
    spec = importlib.util.spec_from_file_location("inflight_with_fakes", INFLIGHT)
    assert spec and spec.loader
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_load_pipeline", lambda _: FakePipeline())
    made: list[Any] = []

    def start(rests: bool = True) -> Any:
        made.append(module.InflightBatcher(SETTINGS, MagicMock(due=lambda: False), MagicMock(), MagicMock(), rests))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def batcher(start: Any) -> Any:
    return start()


def ask(batcher: Any, *requests: Asked) -> None:
    for request in requests:
        batcher.submit(request)
    assert all(request.over.wait(10) for request in requests)


@pytest.mark.timeout(60)
def test_a_request_that_the_engine_gives_up_takes_no_other_with_it(batcher: Any) -> None:
    dropped, kept = Asked([1], None), Asked([1], [2], [3])
    ask(batcher, dropped, kept)
    assert dropped.error.startswith("No free blocks left") and not kept.error
    assert kept.sent == [1, 2, 3]


@pytest.mark.timeout(60)
def test_after_a_step_that_raises_the_next_request_is_served(batcher: Any, capfd: pytest.CaptureFixture[str]) -> None:
    batcher._pipeline.faults.append(KeyError("a bug"))
    failed = Asked([1])
    ask(batcher, failed)
    assert failed.error == "Engine step failed: 'a bug'" and failed.config.cancelled
    assert "KeyError: 'a bug'" in capfd.readouterr().err
    served = Asked([4])
    ask(batcher, served)
    assert served.sent == [4]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("rests", "left"), [(True, 0), (False, 1)])
def test_gauges_at_rest_are_of_the_last_step_only_in_the_backends_place(start: Any, rests: bool, left: int) -> None:
    batcher = start(rests)
    ask(batcher, Asked([1], [2]))
    batcher.close()
    shown = batcher._gauges.publish.call_args.args[0]
    assert (shown["scheduled"], shown["active"], shown["waiting"]) == (left, left, 0)
