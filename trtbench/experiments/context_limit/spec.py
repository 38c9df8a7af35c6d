"""The search for the longest prompt that a deployment still serves."""

from __future__ import annotations

from pydantic import Field, model_validator

from trtbench.scenario.parts.bounds import Confirmations, RatioBelowOne, Tokens, UserCount
from trtbench.scenario.parts.part import Part


class ContextLimit(Part):
    """A bisection of the prompt length, until one KV block is between the last length that completes and the first that fails."""

    concurrency: tuple[UserCount, ...] = Field(
        (1, 2, 4, 8), min_length=1, description="Prompts of the same length sent at once; one search each, in this order."
    )
    output_tokens: Tokens = Field(8, description="Output tokens requested of each prompt; a shorter answer counts as a failure.")
    shortest_tokens: Tokens = Field(64, description="First length that the search tries; it doubles the length until a prompt fails.")
    longest_tokens: Tokens | None = Field(
        None, description="Longest length that the search tries; null: one block over the limit of the model or its engine."
    )
    extreme_tokens: tuple[Tokens, ...] = Field(
        (10_000,),
        description="Lengths that are sent once after the search, to see how the server refuses them and if it serves afterwards.",
    )
    confirm: Confirmations = Field(3, description="Further tries on each side of the limit that was found.")
    min_available_memory_ratio: RatioBelowOne = Field(
        0.1,
        description="Share that must stay available of the machine's memory, and of the container's; below it the search stops.",
    )

    @model_validator(mode="after")
    def _bounds(self) -> ContextLimit:
        if self.longest_tokens is not None and self.longest_tokens < self.shortest_tokens:
            raise ValueError(
                f"longest_tokens ({self.longest_tokens}) is under shortest_tokens ({self.shortest_tokens}): raise it, or lower the other"
            )
        if len(set(self.concurrency)) < len(self.concurrency):
            raise ValueError(f"concurrency {list(self.concurrency)} names a level twice; name each once")
        return self
