"""What a container's Triton side takes, for record_contract.py: models' tensors and parameters, the server's flags, metric families.

Needs no package: the templates are no protobuf text before they are filled in (`max_batch_size: ${...}`), so they are read as they are.
"""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODELS = (
    *(f"inflight_batcher_llm/{name}" for name in ("ensemble", "preprocessing", "tensorrt_llm", "postprocessing", "tensorrt_llm_bls")),
    "llmapi/tensorrt_llm",
)
_TOKEN = re.compile(r'#[^\n]*|"((?:[^"\\]|\\.)*)"|(\$\{\w+\}|[\w.+-]+)|([{}\[\]:,;])|\s+|(.)', re.DOTALL)
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_FLAG = re.compile(r"^ {2}(--[a-z][a-z0-9-]*)(?: <+([^>:]+))?", re.MULTILINE)
_FAMILY = re.compile(rb"nv_(?:trt_)?llm_[a-z_]+")
_SERIES = re.compile(r"^(nv_(?:trt_)?llm_[a-z_]+)\{([^}]*)\}", re.MULTILINE)
_BASE_LABELS = {"model", "version", "le", "gpu_uuid"}


def models(directory: Path, unknown: list[str]) -> Iterator[tuple[str, Any]]:
    """Of `all_models`: (family/model, its facts)."""
    for name in MODELS:
        path = directory / name / "config.pbtxt"
        try:
            yield name, model_facts(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            unknown.append(f"{name}: {error}")


def model_facts(text: str) -> dict[str, Any]:
    """ValueError for what is no text of protobuf's."""
    config = parse(text)
    policy = (config.get("model_transaction_policy") or [{}])[0]
    return {
        "backend": _first(config, "backend"),
        "platform": _first(config, "platform"),
        "decoupled": _first(policy, "decoupled"),
        "dynamic_batching": "dynamic_batching" in config,
        "inputs": [_tensor(one) for one in config.get("input", ())],
        "outputs": [_tensor(one) for one in config.get("output", ())],
        "parameters": [
            {"key": _first(one, "key"), "value": _first(_first(one, "value") or {}, "string_value")} for one in config.get("parameters", ())
        ],
        "template_keys": sorted(set(_PLACEHOLDER.findall(text))),
        "certainty": "installed",
    }


def _first(message: Any, key: str) -> Any:
    return message.get(key, [None])[0] if isinstance(message, dict) else None


def _tensor(one: dict[str, Any]) -> dict[str, Any]:
    dims = [int(value) for value in one.get("dims", ())]
    found = {
        "name": _first(one, "name"),
        "data_type": _first(one, "data_type"),
        "dims": dims,
        "optional": _first(one, "optional") == "true",
    }
    found |= {"allow_ragged_batch": True} if _first(one, "allow_ragged_batch") == "true" else {}
    return found | ({"reshape": (_first(one, "reshape") or {}).get("shape", [])} if "reshape" in one else {})


def parse(text: str) -> dict[str, list[Any]]:
    """Protobuf's text format, placeholders and all: each field a list of words and of messages like this one."""
    tokens = [
        found[1] if found[1] is not None else found[2] or found[3]
        for found in _TOKEN.finditer(text)
        if found[1] is not None or found[2] or found[3] or _refuse(found[4])
    ]
    message, at = _message(tokens, 0)
    if at != len(tokens):
        raise ValueError("a } too many")
    return message


def _refuse(character: str | None) -> bool:
    if character:
        raise ValueError(f"{character!r} is none of protobuf's")
    return False


def _message(tokens: list[str], at: int) -> tuple[dict[str, list[Any]], int]:
    found: dict[str, list[Any]] = {}
    while at < len(tokens) and tokens[at] != "}":
        name, at = tokens[at], at + 1
        if name in ",;":
            continue
        at += tokens[at : at + 1] == [":"]
        values, at = _values(tokens, at)
        found.setdefault(name, []).extend(values)
    return found, at


def _values(tokens: list[str], at: int) -> tuple[list[Any], int]:
    if at >= len(tokens) or tokens[at] in ("}", "]", ":"):
        raise ValueError("a field has no value")
    if tokens[at] == "{":
        message, at = _message(tokens, at + 1)
        if at >= len(tokens):
            raise ValueError("a } is missing")
        return [message], at + 1
    if tokens[at] != "[":
        return [tokens[at]], at + 1
    listed: list[Any] = []
    at += 1
    while at < len(tokens) and tokens[at] != "]":
        values, at = ([], at + 1) if tokens[at] == "," else _values(tokens, at)
        listed += values
    return listed, at + 1


def server_flags(program: str) -> dict[str, Any]:
    """Of `tritonserver --help`, which names a flag's type as <string>; a flag without one takes no value."""
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=False)
    found = {name: {"type": kind or "flag", "choices": None, "default": None} for name, kind in _FLAG.findall(done.stdout + done.stderr)}
    if not found:
        raise ValueError(f"{program} --help names no flag")
    return found


def families_in(library: Path) -> dict[str, Any]:
    """Names only, from the backend's own strings; `families_of` has their labels, once a server runs."""
    return {name.decode(): {} for name in sorted(set(_FAMILY.findall(library.read_bytes()))) if not name.endswith(b"_")}


def families_of(url: str) -> dict[str, Any]:
    """{family: its label, the label's values} of a metrics page; histograms by their own name."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of the user's own server, by the user's own hand
        return page_families(answer.read().decode("utf-8", errors="replace"))


def page_families(page: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for series, text in _SERIES.findall(page):
        family = re.sub(r"_(bucket|sum|count)$", "", series) if series.startswith("nv_llm_") else series
        labels = {name: value for name, value in re.findall(r'(\w+)="([^"]*)"', text) if name not in _BASE_LABELS}
        for label, value in labels.items():
            facts = found.setdefault(family, {"label": label, "values": []})
            facts["values"] += [value] if value not in facts["values"] else []
    return found
