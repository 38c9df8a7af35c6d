"""Energy and price of tokens, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.finding_rules import level
from tests.support.records import samples_of
from trtbench.analysis.stage.resources import GpuUse, MigUse, Resources, resources
from trtbench.analysis.stage.throughput import Throughput
from trtbench.analysis.stage.token_cost import energy_per_token_j, gpus_in_use, price_per_million_tokens, token_cost
from trtbench.scenario.deployment.gpu_settings import Cost


def gpu(memory_bytes: float | None, joules: float | None = 500.0) -> GpuUse:
    held = None if memory_bytes is None else level(memory_bytes)
    return GpuUse(level(0.5), None, None, None, None, joules, {}, server_memory_bytes=held)


def use_of(*gpus: GpuUse) -> Resources:
    return replace(resources(samples_of({}), 0, 1), gpus={str(number): one for number, one in enumerate(gpus)})


RATES = Throughput(10.0, 10, 1000, 1.0, 100.0, None, None, None)


def test_a_price_by_hand() -> None:
    """2.5 an hour for two GPUs, 100 tokens a second: 5 / 360,000 a token."""
    assert price_per_million_tokens(2.5, 2, 100.0) == pytest.approx(5 / 0.36)


@pytest.mark.parametrize(("price", "gpus", "rate"), [(None, 2, 100.0), (2.5, None, 100.0), (2.5, 2, None), (2.5, 2, 0.0), (2.5, 0, 1.0)])
def test_no_price_without_one_of_its_parts(price: float | None, gpus: float | None, rate: float | None) -> None:
    assert price_per_million_tokens(price, gpus, rate) is None


def test_the_gpus_are_those_on_which_the_server_has_memory() -> None:
    assert gpus_in_use(use_of(gpu(1e9), gpu(0.0), gpu(1e9))) == 2
    assert gpus_in_use(use_of(gpu(None), gpu(None))) == 2, "all, where the server's memory is not read"
    assert gpus_in_use(use_of()) is None
    assert gpus_in_use(replace(use_of(gpu(1e9)), mig_instances={"MIG-1": MigUse(level(1.0), 2.0)})) is None


def test_tokens_for_a_joule_and_a_price_together() -> None:
    use = use_of(gpu(1e9), gpu(1e9))
    energy = energy_per_token_j(use, RATES.output_tokens)
    assert energy == 1.0
    cost = token_cost(use, RATES, energy, Cost(gpu_hour_price=3.6))
    assert cost and (cost.gpus, cost.tokens_per_j, cost.price_per_million_tokens) == (2, 1.0, pytest.approx(20.0))
    half = token_cost(use, RATES, energy, Cost(gpu_hour_price=3.6, gpus=0.5))
    assert half and half.price_per_million_tokens == pytest.approx(5.0)


def test_nothing_is_known_without_power_and_price() -> None:
    assert token_cost(use_of(), RATES, None, Cost()) is None
    assert token_cost(use_of(), RATES, None, Cost(gpu_hour_price=3.6)) is None, "how many GPUs?"
