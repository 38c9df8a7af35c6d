"""Energy and price of the output tokens of a stage."""

from __future__ import annotations

from dataclasses import dataclass

from trtbench.analysis.stage.resources import Resources
from trtbench.analysis.stage.throughput import Throughput
from trtbench.scenario.deployment.gpu_settings import Cost

_S_PER_HOUR = 3600
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenCost:
    """`gpus`: those that the price counts; None if they are unknown. A figure is None without power readings, a price, or output tokens.

    The price has the currency of `cost.gpu_hour_price`, and counts every GPU for the whole window, however busy it was.
    """

    gpus: float | None
    tokens_per_j: float | None
    price_per_million_tokens: float | None


def token_cost(use: Resources, rates: Throughput, energy_per_token_j: float | None, cost: Cost) -> TokenCost | None:
    """The cost of a stage; None if there is neither energy nor a price."""
    gpus = cost.gpus if cost.gpus is not None else gpus_in_use(use)
    price = price_per_million_tokens(cost.gpu_hour_price, gpus, rates.output_token_throughput)
    if price is None and not energy_per_token_j:
        return None
    return TokenCost(gpus, 1 / energy_per_token_j if energy_per_token_j else None, price)


def price_per_million_tokens(gpu_hour_price: float | None, gpus: float | None, tokens_per_s: float | None) -> float | None:
    """Price of a GPU for an hour x GPUs / tokens an hour, in millions; None if one of them is unknown or nothing was generated."""
    if gpu_hour_price is None or not gpus or not tokens_per_s:
        return None
    return gpu_hour_price * gpus / (tokens_per_s * _S_PER_HOUR) * _MILLION


def gpus_in_use(use: Resources) -> float | None:
    """The GPUs on which the server has memory; where that is not read, all GPUs of the machine. None without a reading of any, and with MIG
    instances, which are parts of a GPU.
    """
    if not use.gpus or use.mig_instances:
        return None
    holding = [gpu for gpu in use.gpus.values() if gpu.server_memory_bytes and gpu.server_memory_bytes.max > 0]
    return float(len(holding) or len(use.gpus))


def energy_per_token_j(use: Resources, output_tokens: int) -> float | None:
    """Integral of power / output tokens, summed over all GPUs; None with MIG instances, because the power is that of the whole GPU."""
    if use.mig_instances:
        return None
    joules = [gpu.energy_j for gpu in use.gpus.values() if gpu.energy_j is not None]
    return sum(joules) / output_tokens if joules and output_tokens else None
