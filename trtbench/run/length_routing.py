"""The length classes of a deployment with their bounds in tokens, and the checks that a plan has requests of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trtbench.plan.plan import Plan, PlannedPrompt
from trtbench.rundir.deployment_facts import ServedClass
from trtbench.scenario.deployment.length_classes import Batching, LengthClass
from trtbench.scenario.parts.part import ScenarioError


def length_classes(batching: Batching, plan: Plan, models: Mapping[str, str]) -> tuple[ServedClass, ...]:
    """The classes from the shortest inputs to the longest. `models` are the models that serve them, if they are served apart.

    A quantile q is the shortest length that at least a share q of the plan's measured requests do not exceed. ScenarioError if two bounds
    are equal, if no measured request belongs to a class, or if the first warm-up has none of a class: its model would start cold.
    """
    lengths = input_lengths(prompt for part in plan.stages for prompt in part.measured.prompts)
    classes = tuple(
        ServedClass(name=name, upto_input_tokens=_bound(one, lengths), model=models.get(name)) for name, one in batching.in_order.items()
    )
    counts = class_counts(classes, lengths)
    for one in classes:
        if not counts[one.name]:
            shown = "no bound" if one.upto_input_tokens is None else f"the bound {one.upto_input_tokens}"
            raise ScenarioError(
                f"batching.classes.{one.name} ({shown}): the workload, of {min(lengths)} to {max(lengths)} input tokens, has no request of "
                "this class: change the bounds"
            )
    _check_warmup(classes, plan)
    return classes


def input_lengths(prompts: Iterable[PlannedPrompt]) -> list[int]:
    return [len(prompt.input_ids) for prompt in prompts]


def class_counts(classes: Sequence[ServedClass], lengths: Iterable[int]) -> dict[str, int]:
    """The number of inputs in each class."""
    counts = {one.name: 0 for one in classes}
    for length in lengths:
        counts[next(one.name for one in classes if one.takes(length))] += 1
    return counts


def _bound(one: LengthClass, lengths: Sequence[int]) -> int | None:
    if one.upto_quantile is None:
        return one.upto_input_tokens
    return int(np.quantile(np.asarray(lengths), one.upto_quantile, method="inverted_cdf"))


def _check_warmup(classes: Sequence[ServedClass], plan: Plan) -> None:
    first = plan.stages[0]
    counts = class_counts(classes, input_lengths(first.warmup.prompts))
    missing = [name for name, count in counts.items() if not count]
    if missing and first.warmup.prompts and any(one.model for one in classes):
        raise ScenarioError(
            f"load: the {len(first.warmup.prompts)} warm-up requests of stage {first.stage.label} have none of the length class "
            f"{', '.join(missing)}: raise warmup_requests"
        )
