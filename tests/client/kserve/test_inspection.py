from __future__ import annotations

import socket
from typing import Any

import pytest

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import TargetError
from trtbench.client.transport.address import AddressError


def test_a_current_and_an_older_model(fake_server: Any) -> None:
    current = inspect_target(fake_server.url, "tensorrt_llm")
    assert current.batched and current.reports_times and current.input_name("seed") == "seed"
    older = inspect_target(fake_server.url, "old", "1")
    assert (older.batched, older.reports_times, older.input_name("seed"), older.version) == (False, False, "random_seed", "1")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("coupled", "is not decoupled.*model_transaction_policy"),
        ("foreign", "takes neither input_ids nor text_input .it takes INPUT0.: name the tensorrt_llm model, the ensemble"),
        ("unready", "model 'unready' is not ready: state UNAVAILABLE; load it first"),
        ("nobody", "the server has no model 'nobody'; it has abort, .* and [0-9]+ more"),
    ],
)
def test_what_cannot_be_put_under_load_says_why(fake_server: Any, model: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        inspect_target(fake_server.url, model)


@pytest.mark.process
def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(AddressError, match=r"connection refused, no program listens on this port.*8001"):
            inspect_target(f"127.0.0.1:{free.getsockname()[1]}", "tensorrt_llm", timeout_s=0.5)
