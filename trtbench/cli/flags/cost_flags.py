"""The options of what a GPU costs, of the commands that measure and of `trtbench report`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trtbench.cli.flags.values import Real
from trtbench.errors import UserError

if TYPE_CHECKING:
    from trtbench.scenario.deployment.gpu_settings import Cost

F = TypeVar("F", bound=Callable[..., Any])
MOST_PRICE, MOST_GPUS = 1e12, 100_000.0

COST_OPTIONS = (
    click.option(
        "--gpu-hour-price",
        type=Real(0.000001, MOST_PRICE),
        help="Report the price of a million output tokens, from this price of one GPU for one hour, in any currency.",
    ),
    click.option(
        "--gpu-count",
        type=Real(0.01, MOST_GPUS),
        help="Count this number of GPUs in the price. By default those on which the server has memory; needed for a remote server.",
    ),
)


def cost_options(command: F) -> F:
    """Add the options to a command."""
    for option in reversed(COST_OPTIONS):
        command = option(command)
    return command


def cost_of(*, gpu_hour_price: float | None, gpu_count: float | None) -> Cost | None:
    """The cost that the options give, or None without them. UserError for GPUs without a price."""
    if gpu_hour_price is None and gpu_count is not None:
        raise UserError(f"--gpu-count {gpu_count:g}: there is no price to count them in; give --gpu-hour-price too, or leave it out")
    if gpu_hour_price is None:
        return None
    from trtbench.scenario.deployment.gpu_settings import Cost

    return Cost(gpu_hour_price=gpu_hour_price, gpus=gpu_count)


def cost_overrides(cost: Cost | None) -> tuple[str, ...]:
    """The keys of a scenario that hold this cost, as values of --set."""
    given = {} if cost is None else cost.model_dump(exclude_none=True)
    return tuple(f"cost.{key}={value!r}" for key, value in given.items())
