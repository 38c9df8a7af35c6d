"""The kinds of clients: each endpoint that a user can name belongs to one of them."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.support.asking import BARE
from trtbench.client.openai.request_shape import RequestShape
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import TargetError
from trtbench.client.registry import CLIENTS, agreed, client_of_endpoint, target_from_json, target_to_json
from trtbench.scenario.parts.choices import EndpointType

OVER_HTTP = OpenaiTarget("http://h:1/a", "m", "openai-chat", RequestShape(prompt="messages", asked=("ignore_eos",), extra={"x": [1, None]}))


def test_every_endpoint_belongs_to_one_client() -> None:
    named = [name for kind in CLIENTS.values() for name in kind.endpoints]
    assert sorted(named) == sorted(get_args(EndpointType))
    assert client_of_endpoint("kserve").target is type(BARE) and client_of_endpoint("generate").target is OpenaiTarget


@pytest.mark.parametrize("target", [BARE, OVER_HTTP], ids=["kserve", "openai"])
def test_a_target_reaches_a_worker_as_it_is(target: OpenaiTarget) -> None:
    assert target_from_json(target_to_json(target)) == target


def test_the_address_and_the_path_of_a_target() -> None:
    assert (OVER_HTTP.address, OVER_HTTP.path) == ("h:1", "/a/v1/chat/completions")
    assert OVER_HTTP.metrics_url == "http://h:1/metrics"


def test_servers_that_agree_are_one_target() -> None:
    other = OpenaiTarget("http://h:2", "m", "openai-chat", OVER_HTTP.shape)
    merged = agreed([OVER_HTTP, other])
    assert isinstance(merged, OpenaiTarget) and merged.others == ("http://h:2",)
    assert agreed([OVER_HTTP]) is OVER_HTTP
    with pytest.raises(TargetError, match="measure each in a run of its own"):
        agreed([OVER_HTTP, OpenaiTarget("http://h:2", "m", "openai-chat", RequestShape(prompt="messages"))])
