"""OpenaiTarget: a model behind an OpenAI-compatible endpoint, with the shape of the requests that its server accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from trtbench.client.openai.endpoints import ENDPOINTS, Endpoint
from trtbench.client.openai.request_shape import CountSource, PromptForm, RequestShape
from trtbench.rundir.deployment_facts import DeploymentFile, EndpointFacts
from trtbench.scenario.parts.part import ScenarioError

_PROMPTS: Mapping[PromptForm, str] = {"ids": "token ids", "text": "text", "messages": "messages"}
_COUNTED: Mapping[CountSource, str] = {
    "token_ids": "the token ids of each event",
    "running_usage": "the usage in each event",
    "own_count": "the count in each event",
    "last_usage": "the usage at the end of each answer, evenly over its events",
    "tokenizer": "trtbench's tokenizer, as an estimate: the server reports no counts",
}


@dataclass(frozen=True)
class OpenaiTarget:
    """One model of one HTTP server, or of several. See Target of client/protocol.py for what a run uses of it.

    `url` is http(s)://HOST:PORT with the prefix of the endpoints, if there is one; `others` are those of further servers of the same model.
    `endpoint` is a name in ENDPOINTS. `max_positions` is the longest sequence of the model, or None if the server does not report it.
    `accumulates`: each event has all the text so far.
    """

    client: ClassVar[str] = "openai"

    url: str
    model: str
    endpoint: str
    shape: RequestShape
    streaming: bool = True
    others: tuple[str, ...] = ()
    server_name: str = ""
    server_version: str = ""
    max_positions: int | None = None
    accumulates: bool = False

    @property
    def way(self) -> Endpoint:
        return ENDPOINTS[self.endpoint]

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """The request target of every request."""
        return urlsplit(self.url).path.rstrip("/") + self.way.path(self.model, self.streaming)

    @property
    def takes_text(self) -> bool:
        return self.shape.prompt != "ids"

    @property
    def counts_tokens(self) -> bool:
        return self.shape.counts != "tokenizer"

    @property
    def returns_ids(self) -> bool:
        return self.shape.prompt == "ids" and self.shape.counts == "token_ids"

    @property
    def tensors(self) -> None:
        """Requests carry prompts."""

    @property
    def padded_to_tokens(self) -> None:
        """Nothing is padded."""

    @property
    def metrics_model(self) -> None:
        """The page of metrics is that of this model."""

    @property
    def statistics_address(self) -> None:
        """Statistics of Triton are behind its gRPC port, which no answer names."""

    @property
    def metrics_url(self) -> str | None:
        """The page of vLLM and trtllm-serve, outside any prefix. That of Triton has another port, which is not known."""
        return f"http://{self.address}/metrics" if self.way.has_models and self.url.startswith("http://") else None

    def server_facts(self) -> DeploymentFile:
        shape = self.shape
        return DeploymentFile(
            url=self.url,
            model_name=self.model,
            max_positions=self.max_positions,
            server_name=" ".join(filter(None, (self.server_name, self.server_version))) or None,
            endpoint=EndpointFacts(
                type=self.endpoint,
                path=self.path,
                prompt=shape.prompt,
                counts=shape.counts,
                asked=shape.asked,
                refused=shape.refused,
                extra=shape.extra,
                system_prompt=shape.system_prompt or None,
            ),
        )

    def token_facts(self) -> dict[str, Any]:
        usage = self.shape.counts == "own_count" or "include_usage" in self.shape.asked
        return {
            "family": self.endpoint,
            "token_counts": self.shape.counts if self.counts_tokens else None,
            "input_counts": "server" if usage else "ids" if self.shape.prompt == "ids" else "tokenizer",
            "forces_length": self.shape.forces_length,
        }

    def notes(self) -> list[str]:
        shape = self.shape
        keys = f", with {', '.join(shape.asked)}" if shape.asked else ""
        sent = f"Requests go to {self.path} with the prompt as {_PROMPTS[shape.prompt]}{keys}."
        refused = [f"The server does not accept {key} in a request ({why})." for key, why in shape.refused.items()]
        return [sent, f"Output tokens are counted by {_COUNTED[shape.counts]}.", *refused]

    def with_servers(self, others: Sequence[str]) -> OpenaiTarget:
        return replace(self, others=tuple(others))

    def padded(self, longest_tokens: int) -> tuple[OpenaiTarget, str]:
        """Nothing is padded; a prompt that leaves no room for a token is refused before the load."""
        if self.max_positions is not None and longest_tokens >= self.max_positions:
            raise ScenarioError(
                f"a prompt has {longest_tokens} tokens, model {self.model!r} takes {self.max_positions} with its output: lower --isl"
            )
        return self, ""
