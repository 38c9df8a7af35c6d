"""What the model is asked to do, and which keys mean nothing for a model that does not generate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from trtbench.experiments.grid.spec import Grid
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.rounds import Rounds
from trtbench.scenario.parts.part import Part
from trtbench.scenario.workload.request_kind import RequestKind
from trtbench.scenario.workload.workload import Workload

Task = Literal["generate", "embed"]

_LEAST_INPUT_TOKENS = 3  # a beginning, one token of text, an end
_OF_GENERATION: Mapping[str, tuple[str, ...]] = {
    "scenario": ("context_limit",),
    "build": (
        *("kv_dtype", "kv_block_tokens", "max_seq_len", "max_num_tokens", "paged_context_fmha", "plugins"),
        *("tp", "pp", "workers", "dummy_weights", "route", "smoothquant"),
    ),
    "deployment": ("kv_cache", "scheduler", "tensorrt_llm", "llmapi"),
    "grid": ("max_sequences", "max_tokens_per_step"),
    "kind": ("output_tokens", "sessions", "prefix"),
    "workload": ("ignore_eos", "streaming", "sampling"),
    "slo": ("ttft_ms", "itl_ms", "tpot_ms"),
}
"""Part: its keys that speak of tokens generated, of their KV cache, or of steps. Written out at their defaults they say nothing."""

Place = tuple[str, ...]


def generation_keys(
    scenario: Part, build: Part, workload: Workload, deployments: Mapping[str, Deployment], rounds: Rounds | None, slo: Part
) -> Iterator[tuple[Place, Part, str]]:
    """(Where the part stands, the part, one of its keys) of all that only generation has. `rounds`: the grid, or the scaling."""
    parts: list[tuple[Place, Part, str]] = [((), scenario, "scenario"), (("build",), build, "build"), (("slo",), slo, "slo")]
    parts += [(("workload",), workload, "workload"), (("workload",), workload, "kind")]
    parts += [(("workload", "mix", name), kind, "kind") for name, kind in workload.mix.items()]
    if isinstance(rounds, Grid):
        parts.append((("grid",), rounds, "grid"))
    if rounds and rounds.base:
        parts.append((("grid" if isinstance(rounds, Grid) else "scaling", "base"), rounds.base, "deployment"))
    parts += [(("deployments", name), deployment, "deployment") for name, deployment in deployments.items()]
    for place, part, name in parts:
        yield from ((place, part, key) for key in _OF_GENERATION[name])


def check_embed(found: Iterator[tuple[Place, Part, str]], kinds: Mapping[str, RequestKind]) -> None:
    """ValueError for a key that an embedding model has no use for, and for requests too short for one."""
    for place, part, key in found:
        if (value := getattr(part, key)) != type(part).model_fields[key].get_default(call_default_factory=True):
            where = ".".join((*(("deployments", "base") if place[1:] == ("base",) else place), key))
            shown = value.model_dump(exclude_defaults=True) if isinstance(value, Part) else value
            raise ValueError(f"{where} ({shown}) has no meaning with task embed: leave it out, or set task: generate")
    for name, kind in kinds.items():
        where = f"workload.mix.{name}" if name else "workload"
        if kind.cancel and kind.cancel.after_tokens:
            raise ValueError(f"{where}.cancel.after_tokens: with task embed no tokens come back: give after_s")
        if kind.input_tokens.min < _LEAST_INPUT_TOKENS:
            raise ValueError(
                f"{where}.input_tokens goes down to {kind.input_tokens.min}: with task embed the beginning and end that the model's "
                f"tokenizer adds count too; give at least {_LEAST_INPUT_TOKENS}"
            )


def without_keys(tree: dict[str, Any], found: Iterator[tuple[Place, Part, str]]) -> dict[str, Any]:
    """`tree`, a scenario's dump, less those keys."""
    for place, _, key in found:
        part = tree
        for step in place:
            part = part[step]
        part.pop(key, None)
    return tree
