"""What an encoder whose inputs are not ragged is sent: every request of one length, so that the batcher can join them."""

from __future__ import annotations

from dataclasses import replace

from trtbench.client.kserve.target import Target
from trtbench.plan.plan import Plan
from trtbench.scenario.parts.part import ScenarioError


def padded(target: Target, plan: Plan) -> tuple[Target, str]:
    """The target with the padding that its encoder needs, and a note on it, "" where there is nothing to say.

    ScenarioError when a request is longer than the model's fixed shape.
    """
    encoder = target.encoder
    if encoder is None:
        return target, ""
    longest = max((len(p.input_ids) for part in plan.stages for phase in (part.warmup, part.measured) for p in phase.prompts), default=0)
    if encoder.pad_tokens and longest > encoder.pad_tokens:
        raise ScenarioError(
            f"a request has {longest} tokens, model {target.model!r} takes {encoder.pad_tokens}: lower --isl, or workload.input_tokens"
        )
    if encoder.needs_padding and not encoder.can_pad:
        return target, f"{target.model} has neither ragged inputs nor an attention_mask: only requests of equal length share a batch"
    if encoder.needs_padding:
        encoder = replace(encoder, pad_tokens=longest)
    if not encoder.pad_tokens:
        return target, ""
    return replace(
        target, encoder=encoder
    ), f"every input is padded to {encoder.pad_tokens} tokens: {target.model} batches equal shapes only"
