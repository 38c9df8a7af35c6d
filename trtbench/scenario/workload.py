"""What is asked of the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from trtbench.scenario.part import Part


class Range(Part):
    """A uniform integer range, both ends included."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self


def _as_range(tokens: object) -> object:
    return {"min": tokens, "max": tokens} if isinstance(tokens, int) else tokens


Tokens = Annotated[Range, BeforeValidator(_as_range, json_schema_input_type=Range | int)]
"""A number of tokens, or {min, max} drawn uniformly; always a Range once read."""


class Sampling(Part):
    temperature: float = Field(0.0, ge=0, description="0: greedy decoding.")
    top_k: int = Field(0, ge=0, description="0: no bound.")
    top_p: float = Field(1.0, gt=0, le=1)


class Workload(Part):
    input_tokens: Tokens = Field(Range(min=128, max=128), description="Prompt length in the engine's tokens, exact: a number or a range.")
    output_tokens: Tokens = Field(Range(min=32, max=32), description="Output length in tokens: a number or {min, max}, uniform.")
    ignore_eos: bool = Field(True, description="Generate exactly output_tokens, whatever the model would rather say.")
    languages: tuple[Literal["en", "zh"], ...] = Field(("en", "zh"), min_length=1, description="Languages of the bundled corpus.")
    distinct_prompts: int = Field(256, ge=1, description="Prompts drawn for a stage that ends by time; they are then used in turn.")
    streaming: bool = Field(True, description="Tokens as they are made; false: one response with all of them.")
    sampling: Sampling = Sampling()
