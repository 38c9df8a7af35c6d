"""RunningEndpoint: a server that trtbench did not start, which a scenario measures in place of its own deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.scenario.load.headers import ENVIRONMENT_VARIABLE, FromEnvironment
from trtbench.scenario.parts.bounds import AtMost, EndId, ModelVersion, VocabularySize, finite, is_of_a_run
from trtbench.scenario.parts.choices import EndpointType
from trtbench.scenario.parts.part import Part

MOST_URLS = 64
_LONGEST = 4096
_OURS = frozenset(
    {
        *("model", "prompt", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of"),
        *("text_input", "return_token_ids"),
    }
)
"""Keys of a request that trtbench sets itself, or that would change how an answer is counted."""
OF_OUR_SERVERS = ("provider", "engines", "build", "grid", "scaling", "deployments", "context_limit", "hot_reload", "gpu")
"""Keys of a scenario that say how trtbench builds, serves or changes a model."""
_ENCRYPTED, _PLAIN = {"grpcs", "https"}, {"grpc", "http"}


class RunningEndpoint(Part):
    """A running server, which is neither started nor changed. `model` of the scenario is the name that the server has for the model;
    headers and TLS are those of `client`.
    """

    type: EndpointType = Field("kserve", description="How requests are sent: kserve is gRPC, the others are HTTP (docs/endpoints.md).")
    urls: tuple[Annotated[str, AtMost(_LONGEST)], ...] = Field(
        min_length=1,
        max_length=MOST_URLS,
        description="HOST:PORT of gRPC, or http://HOST:PORT with the prefix of an HTTP endpoint; requests go to several in turn. "
        "grpcs:// and https:// encrypt the connections.",
    )
    model_version: ModelVersion | None = Field(None, description="Version of the model; null: the server chooses it.")
    api_key_env: str | None = Field(
        None,
        pattern=ENVIRONMENT_VARIABLE,
        description="Environment variable with the key that is sent as a bearer token; no file of the run holds the key.",
    )
    extra_inputs: dict[str, Any] = Field({}, description="Keys that every HTTP request has besides those of trtbench.")
    system_prompt: Annotated[str, AtMost(1 << 20)] = Field("", description="First message of every chat; empty: none.")
    tokenizer: Path | None = Field(
        None, description="Directory of the model's tokenizer.json, in whose tokens prompts are text; null: prompts are random token ids."
    )
    vocab_size: VocabularySize = Field(32_000, description="Random token ids are below this number.")
    eos_id: EndId = Field(-1, description="Token that ends an output where workload.ignore_eos is false; -1: none.")
    metrics_url: Annotated[str, AtMost(_LONGEST)] | None = Field(
        None, description="Page of the server's Prometheus metrics; null: /metrics of an OpenAI-compatible server, else none."
    )
    engine_dir: Path | None = Field(
        None, description="Engine that the server is said to serve, which the report then describes; trtbench cannot check it."
    )

    @field_validator("urls")
    @classmethod
    def _one_scheme(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        schemes = dict.fromkeys(map(_scheme, urls))
        if len(schemes) > 1:
            raise ValueError("all servers must be addressed in one way; begin all in the same way")
        return urls

    @field_validator("extra_inputs")
    @classmethod
    def _not_ours(cls, inputs: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        for key in inputs:
            if key in _OURS and not is_of_a_run(info):
                raise ValueError(f"trtbench sets this key itself ({key}); leave it out (lengths and streaming are those of the workload)")
        finite(inputs)
        return inputs

    def check_alone(self, scenario: Part, client: ClientSettings) -> None:
        """ValueError for keys of `scenario` that are for servers which trtbench starts, for none that names the model, and as `connection`
        raises it.
        """
        for key in OF_OUR_SERVERS:
            if getattr(scenario, key) != type(scenario).model_fields[key].get_default(call_default_factory=True):
                raise ValueError(f"{key} is for servers that trtbench starts, and endpoint is one that runs already: leave one of them out")
        if "model" not in scenario.model_fields_set:
            raise ValueError("model: is required with endpoint: give the name that the server has for its model")
        self.connection(client)

    def connection(self, client: ClientSettings) -> ClientSettings:
        """`client` with the key of the API among its headers, and with TLS if the URLs request it. ValueError if the two conflict."""
        schemes = set(map(_scheme, self.urls))
        if client.tls and schemes & _PLAIN:
            raise ValueError(f"endpoint.urls: {self.urls[0]} is not encrypted, client.tls is for grpcs:// and https://: give one of them")
        if self.api_key_env and "authorization" in client.headers:
            raise ValueError("client.headers: authorization conflicts with the key of endpoint.api_key_env: give one of them")
        key = {"authorization": FromEnvironment(env=self.api_key_env, prefix="Bearer ")} if self.api_key_env else {}
        tls = client.tls or (Tls() if schemes & _ENCRYPTED else None)
        return client.model_copy(update={"tls": tls, "headers": client.headers | key})


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""
