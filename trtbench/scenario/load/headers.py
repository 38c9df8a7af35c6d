"""Metadata that the user sends with every gRPC call: names as gRPC takes them, values in the scenario or in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from pydantic import Field

from trtbench.scenario.parts.part import Part, ScenarioError

MOST_HEADERS = 32
LONGEST_VALUE = 4096  # gRPC servers take 8 KiB of headers in all by default
_NAME = re.compile(r"[a-z0-9_.-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_OURS = frozenset({"te", "host", "connection", "content-type", "content-length", "transfer-encoding", "user-agent"})


ENVIRONMENT_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,254}$"
"""The pattern of a variable's name."""


class FromEnvironment(Part):
    """A secret: the run directory gets the variable's name only."""

    env: str = Field(description="The environment variable that holds the value.", pattern=ENVIRONMENT_VARIABLE)
    prefix: str = Field("", description="Text before the value, as 'Bearer ' before a token, whose own blanks at its ends are left out.")


Headers = dict[str, str | FromEnvironment]


def check_headers(headers: Headers) -> Headers:
    """Names in lower case, as HTTP/2 has them. ValueError for what gRPC would refuse."""
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"{len(headers)} headers, the upper bound is {MOST_HEADERS}")
    found: Headers = {}
    for given, value in headers.items():
        name = given.lower()
        if not _NAME.fullmatch(name):
            raise ValueError(f"header {given[:100]!r}: a name has letters, digits, '.', '_' and '-' only, and at most 100 of them")
        if name in _OURS or name.startswith("grpc-"):
            raise ValueError(f"header {name!r} belongs to the transport: leave it out")
        if name.endswith("-bin"):
            raise ValueError(f"header {name!r}: names that end in -bin carry binary values, which are not supported")
        if name in found:
            raise ValueError(f"header {name!r} is given twice")
        if isinstance(value, str):
            _check_value(name, value)
        found[name] = value
    return found


def metadata_of(headers: Mapping[str, str | FromEnvironment]) -> tuple[tuple[str, str], ...]:
    """Name and value of each. ScenarioError, without the value, when a variable is not set or holds what cannot be sent."""
    return tuple((name, value if isinstance(value, str) else _from_environment(name, value)) for name, value in headers.items())


def _from_environment(name: str, secret: FromEnvironment) -> str:
    value = os.environ.get(secret.env)
    if value is None:
        raise ScenarioError(f"header {name!r}: environment variable {secret.env} is not set; export it, or leave the header out")
    if secret.prefix:
        value = secret.prefix + value.strip()
    try:
        _check_value(name, value)
    except ValueError as error:
        raise ScenarioError(f"{error} (environment variable {secret.env})") from None
    return value


def _check_value(name: str, value: str) -> None:
    if len(value) > LONGEST_VALUE:
        raise ValueError(f"header {name!r}: its value has {len(value)} characters, the upper bound is {LONGEST_VALUE}")
    if not _VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(f"header {name!r}: its value must be printable ASCII without blanks at its ends")
