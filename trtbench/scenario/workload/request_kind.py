"""The properties of one kind of requests: lengths, shared prefixes, sessions, cancellation, priorities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from trtbench.scenario.parts.bounds import Groups, PriorityKey, RatioAboveZero, SecondsOrNone, Tokens, Weight, Zipf
from trtbench.scenario.parts.choices import DatasetFormat
from trtbench.scenario.parts.part import Part
from trtbench.scenario.workload.lengths import Lengths, Range


class Think(Part):
    mean: SecondsOrNone = Field(description="Mean pause, seconds.")
    distribution: Literal["fixed", "exponential"] = Field("fixed", description="fixed: every pause is the mean; exponential: drawn.")


def _as_think(seconds: object) -> object:
    return {"mean": seconds} if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else seconds


ThinkTime = Annotated[Think, BeforeValidator(_as_think, json_schema_input_type=Think | SecondsOrNone)]
"""Seconds, constant or {mean, distribution}; always a Think once read."""


class Prefix(Part):
    """Beginnings that prompts share, such as system prompts. A prefix cache can reuse them."""

    groups: Groups = Field(1, description="Number of different prefixes.")
    tokens: Tokens = Field(description="Length of each prefix in tokens, in addition to input_tokens.")
    share_ratio: RatioAboveZero = Field(1.0, description="Share of requests (of sessions) that begin with one.")
    zipf: Zipf | None = Field(None, description="Popularity of prefixes: prefix k is drawn with weight 1/k^zipf; null: all equally often.")

    @property
    def group_shares(self) -> tuple[float, ...]:
        """Probability of each group, among the requests that have a prefix."""
        weights = [rank ** -(self.zipf or 0.0) for rank in range(1, self.groups + 1)]
        return tuple(weight / sum(weights) for weight in weights)


class Dataset(Part):
    """Prompts from a file, as docs/workloads.md has the formats. Rows that are left out are counted and named in the report."""

    path: Path = Field(description="File; docs/datasets.md has the formats.")
    format: DatasetFormat | None = Field(None, description="Format of every row; null: each row shows its own.")
    input_tokens: Range | None = Field(
        None,
        description="Use rows whose prompt has this length (with all turns before it); null: every length that the model accepts.",
    )
    output_tokens: Range | None = Field(None, description="Use rows whose answer has this length; null: every length.")
    most_tokens: Tokens | None = Field(
        None,
        description="Use rows whose prompt and answer together have at most this number of tokens; null: the model's positions.",
    )

    @property
    def is_settled(self) -> bool:
        """Whether the length of its longest request is known, against which positions and KV cache are checked."""
        return None not in (self.input_tokens, self.output_tokens)


class Sessions(Part):
    """Conversations: each turn's prompt is all before it, the model's own answers among it, and `input_tokens` new tokens."""

    turns: Lengths | None = Field(None, description="Turns of a session; with a dataset leave it out: its conversations have their own.")
    think_s: ThinkTime = Field(Think(mean=0.0), description="The user's pause between an answer and the next turn.")


class Cancel(Part):
    """Requests whose client cancels them before they complete."""

    ratio: RatioAboveZero = Field(description="Share of requests.")
    after_tokens: Lengths | None = Field(None, description="Cancel a request when this number of output tokens has arrived.")
    after_s: ThinkTime | None = Field(
        None, description="Cancel a request this number of seconds after it was sent: a number or {mean, distribution}."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Cancel:
        if (self.after_tokens is None) == (self.after_s is None):
            raise ValueError("cancel needs after_tokens or after_s, one of them")
        return self


def _as_dataset(dataset: object) -> object:
    return {"path": dataset} if isinstance(dataset, (str, Path)) else dataset


class RequestKind(Part):
    """What requests are like. A workload is one kind, or a mix of several."""

    input_tokens: Lengths = Field(
        Range(min=128, max=128),
        description="Prompt length in the engine's tokens, exact; a shared prefix and earlier turns come on top.",
    )
    output_tokens: Lengths = Field(
        Range(min=32, max=32), description="Output length in tokens; of a dataset, where a row does not say its own."
    )
    prefix: Prefix | None = Field(None, description="Shared beginnings of prompts; null: none, every prompt is new from its first token.")
    dataset: Annotated[Dataset | None, BeforeValidator(_as_dataset, json_schema_input_type=Dataset | str | None)] = Field(
        None, description="Prompts from a file instead of the bundled corpus: its path, or {path, input_tokens, output_tokens}."
    )
    sessions: Sessions | None = Field(None, description="Multi-turn conversations; null: single requests.")
    cancel: Cancel | None = Field(None, description="Requests that the client cancels; null: none.")
    priorities: dict[PriorityKey, Weight] = Field(
        {}, description="Weight of each of Triton's priority levels, 1 the highest; empty: requests name none."
    )

    @model_validator(mode="after")
    def _turns(self) -> RequestKind:
        if self.sessions and (self.sessions.turns is None) == (self.dataset is None):
            how = "leave it out, the dataset's conversations have their own" if self.dataset else "give a number or a law"
            raise ValueError(f"sessions.turns: {how}")
        return self

    @model_validator(mode="after")
    def _some_priority(self) -> RequestKind:
        if self.priorities and not sum(self.priorities.values()) > 0:
            raise ValueError("priorities: the weights add up to nothing; give at least one above 0, or leave priorities out")
        return self

    def cancelled_at(self, ratio: float | None) -> RequestKind:
        """The same kind with this share cancelled, if it cancels any requests; None changes nothing."""
        if ratio is None or self.cancel is None:
            return self
        return self.model_copy(update={"cancel": self.cancel.model_copy(update={"ratio": ratio}) if ratio else None})

    @property
    def ignores_input_tokens(self) -> bool:
        """Whether lengths are given that do not apply to a dataset's prompts."""
        return self.dataset is not None and self.input_tokens != type(self).model_fields["input_tokens"].default

    @property
    def longest_prompt_tokens(self) -> int:
        """The most that the model has to read for one request: prefix, earlier turns with their answers, the new tokens."""
        prefix = self.prefix.tokens if self.prefix else 0
        if self.dataset:
            return prefix + (self.dataset.input_tokens.max if self.dataset.input_tokens else 0)
        turns = self.sessions.turns.max if self.sessions and self.sessions.turns else 1
        return prefix + turns * self.input_tokens.max + (turns - 1) * self.output_tokens.max

    @property
    def longest_output_tokens(self) -> int:
        asked = self.dataset.output_tokens if self.dataset else None
        return max(self.output_tokens.max, asked.max if asked else 0)

    @property
    def longest_tokens(self) -> int:
        """Prompt and output together."""
        longest = self.longest_prompt_tokens + self.longest_output_tokens
        if self.dataset is None or self.dataset.most_tokens is None:
            return longest
        return min(longest, self.dataset.most_tokens + (self.prefix.tokens if self.prefix else 0))
