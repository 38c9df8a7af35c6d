"""The plan for a model that takes text: the same prompts, decoded by trtbench's tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trtbench.client.protocol import Target
from trtbench.errors import UserError
from trtbench.experiments.registry import roles
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.plan.sources.prompt_source import PromptSource, WorkloadError
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.scenario.scenario import Scenario
from trtbench.system.foreign_text import shown


def check_text(scenario: Scenario, model: str, counts_tokens: bool) -> None:
    """UserError for anything that cannot be requested of a model that answers in text, before anything is drawn.

    `model`: the name known to the user. `counts_tokens`: it reports how many tokens it sends.
    """
    ids = "use the tensorrt_llm model alone (family ids)"
    for experiment in roles(ExperimentPreparation):
        experiment.check_text(scenario, model, ids)
    for name, kind in scenario.workload.kinds.items():
        where = f"workload.mix.{name}" if name else "workload"
        if kind.sessions:
            raise UserError(f"{where}.sessions: a turn repeats the answers before it as token ids, {model} answers in text; {ids}")
        if kind.cancel and kind.cancel.after_tokens and not counts_tokens:
            raise UserError(f"{where}.cancel.after_tokens: {model} need not report how many tokens it sends; give after_s, or {ids}")


def check_sessions(scenario: Scenario, target: Target) -> None:
    """UserError for sessions on a server whose answers have no token ids: a next turn would not repeat them."""
    for name, kind in scenario.workload.kinds.items():
        if kind.sessions and target.tensors is None and not target.returns_ids:
            where = f"workload.mix.{name}.sessions" if name else "workload.sessions"
            raise UserError(
                f"{where}: a turn repeats the answers before it as token ids, and model {shown(target.model)!r} is not asked or does not "
                "answer with any: give an endpoint whose answers have ids (the tensorrt_llm model by kserve, openai-completions of vLLM)"
            )


def check_counting(target: Target, source: PromptSource) -> None:
    """UserError if the tokens of a server that counts none cannot be counted in its texts either."""
    try:
        source.encode("a")
    except WorkloadError as error:
        raise UserError(
            f"the server reports no number of tokens for model {shown(target.model)!r}, so they have to be counted in its texts: "
            "name the directory of its tokenizer with --tokenizer"
        ) from error


def in_text(plan: Plan, source: PromptSource) -> Plan:
    """The plan with each prompt as a text, and with the ids that trtbench's tokenizer encodes from that text, so that its length is
    counted.

    The decoded text of a prompt that begins or ends inside a character or a word is encoded as other tokens. WorkloadError without a
    tokenizer.
    """
    stages = tuple(
        replace(stage, warmup=_phase_in_text(stage.warmup, source), measured=_phase_in_text(stage.measured, source))
        for stage in plan.stages
    )
    return replace(plan, stages=stages, notes=(*plan.notes, *_note(plan, stages)))


def counting(target: Target, source: PromptSource) -> Callable[[Any], Any]:
    """A function that adds to a request's row the tokens that trtbench's tokenizer counts in its text, if the server reports no count."""

    def counted(row: Any) -> Any:
        if not target.counts_tokens and row["output_text"]:
            row["text_tokens"] = max(0, len(source.encode(row["output_text"])) - row["echoed_tokens"])
        return row

    return counted


def _phase_in_text(phase: Phase, source: PromptSource) -> Phase:
    return replace(phase, prompts=tuple(_prompt_in_text(prompt, source) for prompt in phase.prompts))


def _prompt_in_text(prompt: PlannedPrompt, source: PromptSource) -> PlannedPrompt:
    text = source.decode(prompt.input_ids)
    return replace(prompt, text=text, input_ids=source.encode(text))


def _note(plan: Plan, stages: tuple[StagePlan, ...]) -> list[str]:
    pairs = [
        (len(before.input_ids), len(after.input_ids))
        for old, new in zip(plan.stages, stages, strict=True)
        for before, after in zip(old.measured.prompts, new.measured.prompts, strict=True)
    ]
    changed = [abs(after - before) for before, after in pairs if after != before]
    return [f"{len(changed)} of {len(pairs)} prompts are up to {max(changed)} tokens off the length asked, as text"] if changed else []
