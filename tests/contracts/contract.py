"""The recorded contracts, as tests ask them: which keywords, flags and values a TensorRT-LLM takes. README.md says how sure each is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

_FROM_SOURCES = {"1.0": ("1.0",), "1.1": ("1.0", "1.2"), "1.2": ("1.2",)}


def from_packages(line: str) -> tuple[str, ...]:
    """Versions whose contract `make contracts` has recorded from the installed package."""
    return tuple(path.stem.removeprefix("tensorrt_llm_") for path in sorted(HERE.glob(f"tensorrt_llm_{line}.*.json")))


FILES = {line: (*names, *from_packages(line)) for line, names in _FROM_SOURCES.items()}
"""Each line that trtbench claims, and the contracts it is held against: 1.1 lies between two. What a package told stands beside them."""

CASES = [(line, name) for line, names in FILES.items() for name in names]


@cache
def contract(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"tensorrt_llm_{name}.json").read_text(encoding="utf-8"))
    return found


CONTAINERS = tuple(version for line in _FROM_SOURCES for version in from_packages(line) if contract(version)["triton_models"])
"""Versions recorded where Triton's models lay beside the package."""


def llm_keywords(name: str) -> set[str]:
    """What the engine LLM class takes: its own names and its base's; of a package, the class's own fields."""
    return _keywords(name, "TrtLlmArgs")


def pytorch_keywords(name: str) -> set[str]:
    return _keywords(name, "TorchLlmArgs")


def _keywords(name: str, kind: str) -> set[str]:
    found = contract(name)
    return set(found["effective_keywords"][kind] if "effective_keywords" in found else fields(name, kind))


def class_of(name: str, kind: str) -> dict[str, Any]:
    """KeyError where the record lacks it: nothing stands in for what was not found there."""
    found: dict[str, Any] = contract(name)["classes"][kind]
    return found


def fields(name: str, kind: str) -> dict[str, Any]:
    """Strict where a class is still bracketed by two texts: a field seen in one of them only may not exist."""
    found = class_of(name, kind)["fields"]
    return {field: facts for field, facts in found.items() if len(facts.get("seen_in") or "both") > 1}


def all_llm_fields(name: str) -> dict[str, Any]:
    return fields(name, "BaseLlmArgs") | fields(name, "TrtLlmArgs")


def enum(name: str, kind: str) -> list[str]:
    found: list[str] = contract(name)["enums"][kind]
    return found


def flags(name: str, program: str) -> dict[str, Any]:
    found: dict[str, Any] = contract(name)["cli"][program]
    return found


def required_parameters(line: str) -> dict[str, list[str]]:
    """By model of inflight_batcher_llm: what its config.pbtxt must have, or it does not load."""
    found: dict[str, list[str]] = _required()["required"][line]
    return found


def missing_parameter(model: str, name: str) -> str:
    """NVIDIA's words for it."""
    errors = _required()["errors"]
    return str(errors.get(model, errors["python"])).format(name=name)


def _required() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "required_parameters.json").read_text(encoding="utf-8"))
    return found
