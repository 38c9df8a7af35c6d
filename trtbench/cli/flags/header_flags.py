"""--header and --header-env of `trtbench bench`: headers whose values reach no file and no other command line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from trtbench.errors import UserError
from trtbench.scenario.load.headers import check_headers
from trtbench.system.foreign_text import shown

_STASH = "TRTBENCH_HEADER_"
_HIDDEN = "..."
_VALUE_FLAGS = ("--header", "-H")


def headers_of(literal: Sequence[str], from_environment: Sequence[str]) -> dict[str, Any]:
    """`client.headers` of a scenario. UserError, without the value, for what cannot be sent.

    A value of the command line is put into this process's environment, where workers and sampler read it: the scenario, which becomes a
    file of the run, names the variable only.
    """
    headers: dict[str, Any] = {}
    for number, text in enumerate(literal):
        name, value = _split(text, "--header", "NAME:VALUE")
        _check(name, value, headers)
        headers[name] = kept_in_environment(str(number), value)
    for text in from_environment:
        name, variable = _split(text, "--header-env", "NAME:VARIABLE")
        _check(name, "", headers)
        headers[name] = {"env": variable}
    return headers


def kept_in_environment(name: str, value: str) -> dict[str, str]:
    """A header's value as `client.headers` names it, kept in this process's environment under `name`."""
    os.environ[f"{_STASH}{name}"] = value
    return {"env": f"{_STASH}{name}"}


def without_values(command: Sequence[str]) -> list[str]:
    """A command line as it may be recorded: the values of --header are left out."""
    kept: list[str] = []
    for before, word in zip(["", *command], command, strict=False):
        flag = next((flag for flag in _VALUE_FLAGS if word.startswith((f"{flag}=", flag)) and word != flag), None)
        if before in _VALUE_FLAGS:
            kept.append(_hidden(word))
        elif flag and not word.startswith("--header-"):
            kept.append(f"{flag}={_hidden(word[len(flag) :].lstrip('='))}")
        else:
            kept.append(word)
    return kept


def _split(text: str, flag: str, form: str) -> tuple[str, str]:
    found = re.fullmatch(r"([^:=\s]+)\s*[:=]\s*(.*?)\s*", text, re.DOTALL)
    if not found or not found[2]:
        raise UserError(f"{flag} {_hidden(text)}: write {form}")
    return found[1].lower(), found[2]


def _check(name: str, value: str, headers: dict[str, Any]) -> None:
    if name in headers:
        raise UserError(f"--header: duplicate name {shown(name)}; give each name once")
    try:
        check_headers({name: value})
    except ValueError as error:
        raise UserError(f"--header: {error}") from None


def _hidden(text: str) -> str:
    name = re.match(r"[A-Za-z0-9_.-]+[:=]", text)
    return f"{name[0] if name else ''}{_HIDDEN}"
