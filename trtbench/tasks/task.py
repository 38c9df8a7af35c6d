"""Task: everything that depends on what the model does. Code outside this folder reads its properties and never compares its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

TaskName = str
"""A key of TASKS, as written in a scenario, in engine.json and on the command line."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """One way to use a model. No field has a default, so that a new task answers every question.

    **The model.** `model`: what such a model is, with an article. `models`: the same in the plural, without.

    **What is asked.** `draws_output_tokens`: a plan says how many tokens each request generates. `frames_prompts`: prompts begin and end
    with the tokens that the tokenizer adds, which count among theirs, so that `least_input_tokens` make the shortest prompt.
    `sends_tensors`: requests carry the workload's tensors in place of prompts.
    `unused_keys`: part of a scenario (see unused_keys.py): its keys that have no meaning.

    **How it is served.** `streams_tokens`: the model is decoupled and answers token by token; else in one response, within its execution.
    `has_kv_cache`: engines keep keys and values of the tokens before. `batches_in_flight`: engines have a scheduler that batches by steps,
    and gauges of it.

    **Before anything is known of it.** `assumed_request_s`: seconds a request that an estimate assumes, all users together, from its mean
    input and output tokens. `assumed_rate`: the same in words.

    **In a report.** `texts_files`: each NAME of texts/NAME.en.yaml and .zh.yaml, which replace common texts, and those of the names before.
    `headline_latency`: the latency that is listed first, as ttft or e2e. `latencies`: distributions that are drawn over the load.
    `curves`: latencies whose cumulative curves are drawn. `headline_rate`: the figure of throughput that is drawn.
    `hidden`: metrics and columns that the report does not have, by name everywhere, or as `table.name` in one table.
    """

    name: TaskName
    model: str
    models: str
    draws_output_tokens: bool
    frames_prompts: bool
    least_input_tokens: int
    sends_tensors: bool
    unused_keys: Mapping[str, tuple[str, ...]]
    streams_tokens: bool
    has_kv_cache: bool
    batches_in_flight: bool
    assumed_request_s: Callable[[float, float], float]
    assumed_rate: Callable[[float, float], str]
    texts_files: tuple[str, ...]
    headline_latency: str
    latencies: tuple[str, ...]
    curves: tuple[str, ...]
    headline_rate: str
    hidden: frozenset[str]

    def shown(self, table: str, columns: Iterable[str]) -> list[str]:
        """The columns or rows that the report has in the table of this name."""
        return [column for column in columns if not self.hidden & {column, f"{table}.{column}"}]
