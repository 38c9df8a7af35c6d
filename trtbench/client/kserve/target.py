"""KserveTarget: a model of a server that speaks KServe v2, as the server describes it; and the checks whether it can be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from trtbench.client.kserve.encoder import EncoderTensors
from trtbench.client.kserve.family import COUNT_OUTPUTS, FINISH_OUTPUT, INPUT_COUNT, OUTPUT_COUNT, TIME_OUTPUTS, Family, Role, family_of
from trtbench.client.kserve.questions import notes
from trtbench.plan.sources.tensors.tensor import ModelTensors
from trtbench.rundir.deployment_facts import DeploymentFile, ServedClass
from trtbench.scenario.parts.part import ScenarioError

_FORCING: tuple[Role, ...] = ("end_id", "sampling_parameters")
"""Inputs that can force the length of an output."""


@dataclass(frozen=True)
class KserveTarget:
    """One model of one Triton server, or of several. See Target of client/protocol.py for what a run uses of it.

    `url` is host:port of the gRPC endpoint, `others` those of further servers of the same model. An empty `version` leaves the choice to
    the server. `max_batch_size` is Triton's; 0 means that the model does not batch, and that tensors have no batch dimension. `inputs` and
    `outputs` are the names of the model's tensors, which differ between releases. `encoder` describes a model that embeds, `tensors` one
    to which the workload's own tensors are sent. `engine_model` is the model that runs the engine, if this one is a wrapper around it and
    names it. With `accumulates`, each response carries all the text so far. `classes` have models of their own, which are alike but for
    their names and settings of batching; `model` is then that of the first. `unanswered` are the calls that the server did not answer, and
    why (see Questions).
    """

    client: ClassVar[str] = "kserve"

    url: str
    model: str
    version: str
    max_batch_size: int
    triton_version: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    others: tuple[str, ...] = ()
    encoder: EncoderTensors | None = None
    tensors: ModelTensors | None = None
    engine_model: str = ""
    accumulates: bool = False
    server_name: str = ""
    classes: tuple[ServedClass, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)

    @property
    def batched(self) -> bool:
        """Whether tensors have a leading batch dimension."""
        return self.max_batch_size > 0

    @cached_property
    def family(self) -> Family:
        family = family_of(self.inputs)
        assert family, "inspect_target accepts no model without a family"
        return family

    @property
    def is_unary(self) -> bool:
        """Whether a request is a unary call with one answer. Otherwise it is sent on a stream, which brings its responses."""
        return self.encoder is not None or (self.tensors is not None and not self.tensors.decoupled)

    def model_for(self, input_tokens: int) -> str:
        """The model that receives a request with an input of this length."""
        return next((one.model or self.model for one in self.classes if one.takes(input_tokens)), self.model)

    def input_name(self, role: Role) -> str | None:
        """The name of the input with this role, or None if the model has no such input."""
        return self.family.input_name(role, self.inputs)

    @property
    def takes_text(self) -> bool:
        return self.tensors is None and self.family.name != "ids"

    @cached_property
    def reports_times(self) -> bool:
        """Whether the server reports its own instants of each request."""
        return self.input_name("return_times") is not None and self.outputs.issuperset(TIME_OUTPUTS)

    @cached_property
    def reported_counts(self) -> tuple[str, ...]:
        """The outputs in which the engine reports its counts of each request; the input that requests its instants requests these too."""
        return () if self.input_name("return_times") is None else tuple(name for name in COUNT_OUTPUTS if name in self.outputs)

    @property
    def reports_metrics(self) -> bool:
        """Whether the model returns anything if a request asks for its performance metrics."""
        return self.reports_times or bool(self.reported_counts)

    @cached_property
    def reports_output_count(self) -> bool:
        """Whether each response of a model that answers in text reports how many tokens it carries."""
        return self.takes_text and OUTPUT_COUNT in self.outputs and self.input_name("return_output_count") is not None

    @cached_property
    def reports_input_count(self) -> bool:
        """Whether a model that takes text reports how many tokens its own tokenizer made of the prompt."""
        return self.takes_text and INPUT_COUNT in self.outputs and self.input_name("return_input_count") is not None

    @cached_property
    def reports_finish(self) -> bool:
        """Whether the model reports why an output ended; one that ended by "length" has the requested number of tokens."""
        return self.input_name("return_finish") is not None and FINISH_OUTPUT in self.outputs

    @property
    def counts_tokens(self) -> bool:
        return not self.takes_text or self.reports_output_count

    @property
    def returns_ids(self) -> bool:
        return not self.takes_text

    @property
    def padded_to_tokens(self) -> int | None:
        return self.encoder.pad_tokens or None if self.encoder else None

    @property
    def metrics_model(self) -> str | None:
        return self.engine_model if self.tensors is None and self.family.name == "text" else None

    @property
    def statistics_address(self) -> str:
        return self.url

    @property
    def metrics_url(self) -> None:
        """Triton has its page on a port of its own, which no answer names."""

    @cached_property
    def requested_outputs(self) -> tuple[str, ...]:
        """The outputs that every request names."""
        counts = (*([OUTPUT_COUNT] if self.reports_output_count else ()), *([INPUT_COUNT] if self.reports_input_count else ()))
        finish = (FINISH_OUTPUT,) if self.reports_finish else ()
        return (*self.family.outputs, *(TIME_OUTPUTS if self.reports_times else ()), *self.reported_counts, *counts, *finish)

    def server_facts(self) -> DeploymentFile:
        return DeploymentFile(
            url=self.url,
            model_name=self.model,
            model_version=self.version or None,
            max_batch_size=None if "ModelConfig" in self.unanswered else self.max_batch_size,
            triton_version=self.triton_version or None,
            server_name=self.server_name or None,
            unanswered_calls=self.unanswered,
            decoupled=self.tensors.decoupled if self.tensors else None,
        )

    def token_facts(self) -> dict[str, Any]:
        """Empty for a model that generates no tokens."""
        if self.encoder or self.tensors:
            return {}
        return {
            "family": self.family.name,
            "token_counts": "server" if self.reports_output_count else None if self.takes_text else "ids",
            "input_counts": "server" if self.reports_input_count else "tokenizer" if self.takes_text else "ids",
            "forces_length": any(self.input_name(role) for role in _FORCING),
        }

    def notes(self) -> list[str]:
        return notes(self.unanswered)

    def with_servers(self, others: Sequence[str]) -> KserveTarget:
        return replace(self, others=tuple(others))

    def padded(self, longest_tokens: int) -> tuple[KserveTarget, str]:
        """An encoder whose inputs are not ragged gets every input at one length, because Triton batches only inputs of equal shape."""
        encoder = self.encoder
        if encoder is None:
            return self, ""
        if encoder.pad_tokens and longest_tokens > encoder.pad_tokens:
            raise ScenarioError(
                f"a request has {longest_tokens} tokens, model {self.model!r} takes {encoder.pad_tokens}: "
                "lower --isl, or workload.input_tokens"
            )
        if encoder.needs_padding and not encoder.can_pad:
            return self, f"{self.model} has neither ragged inputs nor an attention_mask: only requests of equal length share a batch"
        pad_tokens = longest_tokens if encoder.needs_padding else encoder.pad_tokens
        if not pad_tokens:
            return self, ""
        note = f"every input is padded to {pad_tokens} tokens: {self.model} batches equal shapes only"
        return replace(self, encoder=replace(encoder, pad_tokens=pad_tokens)), note
