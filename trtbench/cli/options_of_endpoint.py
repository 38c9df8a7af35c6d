"""Options of `trtbench bench` that say where requests go, how they are sent, and what they contain in addition to the prompt."""

from __future__ import annotations

from typing import Any, get_args

import click

from trtbench.cli.flags.values import Place, Text
from trtbench.scenario.parts.choices import EndpointType
from trtbench.system.foreign_text import shown

_OTHER_NAMES = {
    "completions": "openai-completions",
    "openai": "openai-completions",  # vllm bench serve
    "openai-comp": "openai-completions",
    "vllm": "openai-completions",
    "chat": "openai-chat",  # aiperf and genai-perf
    "generate_stream": "generate",
    "tensorrt-llm": "generate",  # vllm bench serve's name of Triton's generate_stream
    "triton_generate": "generate",
    "grpc": "kserve",
}


class EndpointName(click.ParamType):  # type: ignore[type-arg]
    """A name of an endpoint, ours or another tool's, which becomes ours."""

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name = str(value).lower()
        name = _OTHER_NAMES.get(name, name)
        if name not in get_args(EndpointType):
            self.fail(f"{shown(str(value), 60)} is none of {', '.join(get_args(EndpointType))}.", param, ctx)
        return name


ENDPOINT_OPTIONS = (
    click.option(
        "--url",
        required=True,
        multiple=True,
        type=Text(),
        metavar="URL",
        help=(
            "Connect to this endpoint of the server: HOST:PORT of gRPC, or http://HOST:PORT with the prefix of its HTTP endpoint. "
            "grpcs:// and https:// encrypt the connections. If the option is repeated, requests go to the servers in turn."
        ),
    ),
    click.option(
        "--model",
        required=True,
        type=Text(),
        help="Send requests to this model. Over gRPC it streams (decoupled) and has TensorRT-LLM's tensor names, or is an encoder.",
    ),
    click.option(
        "--endpoint-type",
        type=EndpointName(),
        default="kserve",
        show_default=True,
        metavar="NAME",
        help=(
            "Send requests in this way: kserve (gRPC), openai-completions, openai-chat, or generate (Triton's generate_stream). "
            "completions, chat and the names of aiperf and vllm bench serve mean the same (docs/endpoints.md)."
        ),
    ),
    click.option(
        "--api-key-env",
        type=Text(),
        metavar="VARIABLE",
        help="Send the key in this environment variable as a bearer token. No file of the run contains it.",
    ),
    click.option("--api-key-file", type=Place(), help="Send the key in this file as a bearer token. No file of the run contains it."),
    click.option(
        "--header",
        multiple=True,
        type=Text(),
        metavar="NAME:VALUE",
        help="Send this header, or gRPC metadata, with every request. The option may be repeated. No file of the run contains the value.",
    ),
    click.option(
        "--header-env",
        type=Text(),
        multiple=True,
        metavar="NAME:VARIABLE",
        help="Send a header, or gRPC metadata, with the value of this environment variable.",
    ),
    click.option(
        "--extra-input",
        type=Text(),
        multiple=True,
        metavar="KEY:VALUE",
        help="Add this key to every HTTP request. The value is JSON, or else a text. The option may be repeated.",
    ),
    click.option("--system-prompt", type=Text(), help="Begin every chat with this message of the system."),
    click.option(
        "--tls",
        is_flag=True,
        help="Encrypt the connections. A grpcs:// URL and each of the next four options do so too.",
    ),
    click.option(
        "--tls-ca", type=Place(), help="Trust the certificates in this PEM file. By default trtbench trusts the system's certificates."
    ),
    click.option("--tls-cert", type=Place(), help="Present the client certificate in this PEM file (mutual TLS)."),
    click.option("--tls-key", type=Place(), help="Use the private key in this PEM file for --tls-cert."),
    click.option("--tls-server-name", type=Text(), help="Expect this name in the server's certificate. The default is the host of --url."),
)
