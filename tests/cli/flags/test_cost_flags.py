"""What a GPU costs: the flags, the keys that they are, and a count without a price."""

from __future__ import annotations

import pytest

from trtbench.cli.flags.cost_flags import cost_of, cost_overrides
from trtbench.errors import UserError
from trtbench.scenario.deployment.gpu_settings import Cost
from trtbench.scenario.reading import parse_scenario

LOAD = [{"concurrency": 1, "requests": 1}]


def test_the_flags_are_keys_of_the_scenario() -> None:
    cost = cost_of(gpu_hour_price=2.5, gpu_count=8)
    assert cost == Cost(gpu_hour_price=2.5, gpus=8)
    assert parse_scenario({"name": "s", "load": LOAD}, "here", cost_overrides(cost)).cost == cost
    assert cost_overrides(cost_of(gpu_hour_price=0.5, gpu_count=None)) == ("cost.gpu_hour_price=0.5",)


def test_without_a_price_there_is_no_cost() -> None:
    assert cost_of(gpu_hour_price=None, gpu_count=None) is None and cost_overrides(None) == ()
    with pytest.raises(UserError, match=r"--gpu-count 4: there is no price .*; give --gpu-hour-price too"):
        cost_of(gpu_hour_price=None, gpu_count=4)
