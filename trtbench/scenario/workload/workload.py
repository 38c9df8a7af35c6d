"""What is asked of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import Field, model_validator

from trtbench.scenario.parts.bounds import CountOrNone, RatioAboveZero, RatioBelowOne, Requests, Temperature, WeightAboveZero
from trtbench.scenario.parts.choices import PromptLanguage
from trtbench.scenario.parts.part import Name, Part
from trtbench.scenario.workload.request_kind import Prefix, RequestKind
from trtbench.scenario.workload.tensors import Tensors


class Sampling(Part):
    temperature: Temperature = Field(0.0, description="Temperature of sampling; 0 is greedy decoding.")
    top_k: CountOrNone = Field(0, description="Sample from this number of the most likely tokens; 0: from all tokens.")
    top_p: RatioAboveZero = Field(1.0, description="Sample from the most likely tokens that reach this probability together.")


class Component(RequestKind):
    """A kind of request in a mix. Keys that are left out have the workload's values."""

    weight: WeightAboveZero = Field(1.0, description="Share of requests (of sessions), against the other components' weights.")


class Workload(RequestKind):
    mix: dict[Name, Component] = Field({}, description="Kinds of requests by name, each drawn by its weight; empty: all of one kind.")
    duplicate_ratio: RatioBelowOne = Field(
        0.0, description="Share of requests that repeat an earlier one of the stage, token for token and seed for seed."
    )
    ignore_eos: bool = Field(True, description="Generate exactly output_tokens tokens, even after the model ends its answer.")
    languages: tuple[PromptLanguage, ...] = Field(("en", "zh"), min_length=1, description="Languages of the bundled corpus.")
    distinct_prompts: Requests = Field(256, description="Prompts drawn for a stage that ends by time; they are then used in turn.")
    streaming: bool = Field(True, description="Receive each token when it is generated; false: one response with all tokens.")
    sampling: Sampling = Sampling()
    tensors: Tensors = Tensors()

    @model_validator(mode="before")
    @classmethod
    def _components_inherit(cls, tree: object) -> object:
        mix = tree.get("mix") if isinstance(tree, dict) else None
        if not isinstance(tree, dict) or not isinstance(mix, dict):
            return tree
        shared = {key: tree[key] for key in RequestKind.model_fields if key in tree}
        return tree | {"mix": {name: shared | part if isinstance(part, dict) else part for name, part in mix.items()}}

    @model_validator(mode="after")
    def _no_repeated_sessions(self) -> Workload:
        if self.duplicate_ratio and any(kind.sessions for kind in self.kinds.values()):
            raise ValueError(
                f"duplicate_ratio ({self.duplicate_ratio:g}) and sessions exclude each other: a turn goes with its own session"
            )
        return self

    @property
    def kinds(self) -> Mapping[str, RequestKind]:
        """The components of the mix by name; without a mix the workload itself, under an empty name."""
        return self.mix or {"": self}

    @property
    def kind_shares(self) -> tuple[float, ...]:
        """Probability of each of `kinds`."""
        weights = [part.weight for part in self.mix.values()] or [1.0]
        return tuple(weight / math.fsum(weights) for weight in weights)

    @property
    def longest_request_tokens(self) -> int:
        """Prompt and output of the longest request that can be drawn, which the positions and the KV cache must hold."""
        return max(kind.longest_tokens for kind in self.kinds.values())

    @property
    def expected_output_tokens(self) -> float:
        """Mean of the distribution; the answers of a dataset are not known."""
        return math.fsum(s * kind.output_tokens.expected for s, kind in zip(self.kind_shares, self.kinds.values(), strict=True))

    @property
    def expected_input_tokens(self) -> float:
        """Mean of the distribution, without prefixes, earlier turns and a dataset's own prompts, whose lengths are not known."""
        return math.fsum(s * kind.input_tokens.expected for s, kind in zip(self.kind_shares, self.kinds.values(), strict=True))

    @property
    def lowest_priority_level(self) -> int:
        """The largest number of a level that a request names; 0 if none does."""
        return max((level for kind in self.kinds.values() for level in kind.priorities), default=0)


def expected_hit_ratio(workload: Workload, requests: int) -> float | None:
    """The mean share of input tokens that a prefix cache of any size finds in a stage of `requests` requests, if it is empty at first.

    New tokens are the own tokens of every request that is not a duplicate, and the first use of each prefix: a prefix that a request has
    with probability p is used in n requests with probability 1 - (1 - p)^n. None if prompts have nothing in common by design, or if the
    dataset or the sessions determine it.
    """
    kinds = list(zip(workload.kind_shares, workload.kinds.values(), strict=True))
    shares_tokens = workload.duplicate_ratio or any(kind.prefix for _, kind in kinds)
    if not shares_tokens or not requests or any(kind.dataset or kind.sessions for _, kind in kinds):
        return None
    originals = requests * (1 - workload.duplicate_ratio)
    own_tokens = math.fsum(share * kind.input_tokens.expected for share, kind in kinds)
    prefix_tokens = math.fsum(share * kind.prefix.share_ratio * kind.prefix.tokens for share, kind in kinds if kind.prefix)
    first_uses = math.fsum(kind.prefix.tokens * _groups_used(kind.prefix, share, originals) for share, kind in kinds if kind.prefix)
    return 1 - (originals * own_tokens + first_uses) / (requests * (own_tokens + prefix_tokens))


def _groups_used(prefix: Prefix, share: float, requests: float) -> float:
    """The mean number of groups that are used at least once, if `share` of the requests are of the prefix's kind."""
    return math.fsum(1 - (1 - share * prefix.share_ratio * group) ** requests for group in prefix.group_shares)
