"""Bounds of datasets that have none: as long as the model reads, and no longer than the file's longest row."""

from __future__ import annotations

from trtbench.engine.checkpoint import model_facts
from trtbench.plan.sources.datasets import read_dataset
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset, RequestKind
from trtbench.tasks.registry import TASKS

_ADDED_TOKENS = 8  # that a tokenizer may put around a text


def bounded(scenario: Scenario) -> Scenario:
    """The same scenario, with what positions and KV cache are checked against filled in where a dataset leaves it out.

    Rows that go over the positions cannot be served: they are left out, counted and reported. UserError for a file that is no dataset.
    """
    kinds = scenario.workload.kinds
    if all(kind.dataset is None or kind.dataset.is_settled for kind in kinds.values()):
        return scenario
    positions = model_facts(scenario.model).max_positions
    if scenario.build.max_seq_len:
        positions = min(positions, scenario.build.max_seq_len)
    update: dict[str, object] = {"mix": {name: _settled(kind, scenario, positions) for name, kind in scenario.workload.mix.items()}}
    if scenario.workload.dataset and not scenario.workload.mix:
        update["dataset"] = _dataset(scenario.workload, scenario.workload.dataset, scenario, positions)
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=update)})


def _settled(kind: RequestKind, scenario: Scenario, positions: int) -> RequestKind:
    if kind.dataset is None:
        return kind
    return kind.model_copy(update={"dataset": _dataset(kind, kind.dataset, scenario, positions)})


def _dataset(kind: RequestKind, dataset: Dataset, scenario: Scenario, positions: int) -> Dataset:
    prompt, answer = (found + _ADDED_TOKENS for found in read_dataset(dataset.path).longest(whole=kind.sessions is not None))
    room = max(2, positions - (kind.prefix.tokens if kind.prefix else 0))
    if not TASKS[scenario.task].draws_output_tokens:
        return dataset.model_copy(update={"input_tokens": dataset.input_tokens or Range(min=1, max=min(prompt, room))})
    most = dataset.most_tokens or room
    return dataset.model_copy(
        update={
            "input_tokens": dataset.input_tokens or Range(min=1, max=min(prompt, most - 1)),
            "output_tokens": dataset.output_tokens or Range(min=1, max=min(answer, most - 1)),
            "most_tokens": most,
        }
    )
