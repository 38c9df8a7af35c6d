#!/usr/bin/env python
"""Records the API contract of the TensorRT-LLM that is installed, and prints how it differs from the recorded ones: `make contracts`.

Run it in a container that has the real package (and a GPU: importing it asks the driver). It needs nothing of trtbench, calls no
class and builds nothing. Recorded are the package's classes and enums, flags of its programs, of its launcher and of tritonserver, the
tensors and parameters of its Triton models, and its metric families: their names from the backend's library, their labels too with
--metrics-url of a server that has served. It writes tests/contracts/tensorrt_llm_<version>.json; replacing the file of a release line by
it is the next step, by hand: the tests then hold all that trtbench writes against it.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib
import json
import os
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import record_triton

CONTRACTS = Path(__file__).parents[1] / "tests" / "contracts"
CLASSES = {
    "BuildConfig": ("tensorrt_llm.llmapi", "tensorrt_llm.builder"),
    "PluginConfig": ("tensorrt_llm.plugin.plugin", "tensorrt_llm.plugin", "tensorrt_llm.llmapi"),
    "QuantConfig": ("tensorrt_llm.llmapi", "tensorrt_llm.models.modeling_utils"),
    "CalibConfig": ("tensorrt_llm.llmapi",),
    "KvCacheConfig": ("tensorrt_llm.llmapi",),
    "SchedulerConfig": ("tensorrt_llm.llmapi",),
    "CudaGraphConfig": ("tensorrt_llm.llmapi",),
    "TrtLlmArgs": ("tensorrt_llm.llmapi.llm_args",),
    "TorchLlmArgs": ("tensorrt_llm.llmapi.llm_args",),
}
ENUMS = {"QuantAlgo": ("tensorrt_llm.llmapi", "tensorrt_llm.quantization.mode"), "CapacitySchedulerPolicy": ("tensorrt_llm.llmapi",)}
SCRIPTS = {"convert_checkpoint.py(llama)": "models/core/llama/convert_checkpoint.py", "quantize.py": "quantization/quantize.py"}
LAUNCHER = "launch_triton_server.py"
LAUNCHERS = ("/app/scripts", "/app/tensorrt_llm/triton_backend/scripts", "/app/triton_backend/scripts")
ALL_MODELS = ("/app/all_models", "/app/tensorrt_llm/triton_backend/all_models", "/app/triton_backend/all_models")
TRITON = Path("/opt/tritonserver")
EXAMPLES = (os.environ.get("TRTLLM_EXAMPLES", ""), "/app/examples", "/app/tensorrt_llm/examples")


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a container has its Triton side; what is not there is recorded as not known."""

    all_models: Path
    launcher: Path
    triton: Path

    @classmethod
    def found(cls, all_models: str | None, triton: str | None) -> Places:
        named = [all_models] if all_models else ALL_MODELS
        models = next((Path(place) for place in named if Path(place).is_dir()), Path(named[0]))
        launchers = [models.parent / "scripts", *map(Path, LAUNCHERS)]
        launcher = next((place / LAUNCHER for place in launchers if (place / LAUNCHER).is_file()), launchers[0] / LAUNCHER)
        return cls(models, launcher, Path(triton) if triton else TRITON)


class ParserBuiltError(Exception):
    """Carries an ArgumentParser out of a program, at the moment when it would read its command line."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def record(version: str, places: Places, metrics_url: str | None = None) -> dict[str, Any]:
    unknown: list[str] = []
    return {
        "version": version,
        "version_note": "recorded from the installed package by scripts/record_contract.py",
        "classes": dict(_each(CLASSES, class_facts, unknown)),
        "enums": dict(_each(ENUMS, lambda kind: [member.name for member in kind], unknown)),
        "cli": dict(_programs(unknown)) | dict(_of_triton(places, unknown)),
        "triton_models": dict(record_triton.models(places.all_models, unknown)),
        "metrics": _families(places, metrics_url, unknown),
        "unknown": unknown,
    }


def class_facts(kind: Any) -> dict[str, Any]:
    if hasattr(kind, "model_fields"):
        found = {field.alias or name: _pydantic_field(field) for name, field in kind.model_fields.items()}
        return {"extra": str(kind.model_config.get("extra", "ignore")), "certainty": "installed package", "fields": found}
    found = {one.name.removeprefix("_"): {"type": str(one.type), "default": _plain(_default(one))} for one in dataclasses.fields(kind)}
    return {"extra": "dataclass (unknown keyword = TypeError)", "certainty": "installed package", "fields": found}


def parser_facts(parser: argparse.ArgumentParser) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in parser._actions:
        longest = max(action.option_strings, key=len, default="")
        if longest.startswith("--") and longest != "--help":
            kind = "flag" if action.nargs == 0 else getattr(action.type, "__name__", "str")
            facts = {"type": kind, "choices": action.choices and list(action.choices), "default": _plain(action.default)}
            aliases = [alias for alias in action.option_strings if alias != longest]
            found[longest] = facts | ({"aliases": aliases} if aliases else {})
    return found


def parser_of(program: Path) -> argparse.ArgumentParser:
    """The parser that the Python program `program` builds; nothing after that is run."""

    def stop(self: argparse.ArgumentParser, *arguments: Any, **keywords: Any) -> Any:
        raise ParserBuiltError(self)

    kept = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args, sys.argv, sys.path[:]
    argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_known_args = stop  # type: ignore[method-assign]
    sys.argv, sys.path[:] = [str(program)], [str(program.parent), *sys.path]
    try:
        runpy.run_path(str(program), run_name="__main__")
    except ParserBuiltError as built:
        return built.parser
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args, sys.argv, sys.path[:] = kept  # type: ignore[method-assign]
    raise ValueError(f"{program} reads no command line by argparse")


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Names, choices and enum members that `new` has and `old` has not, and the other way round, where both have the thing at all."""
    for part in ("classes", "cli"):
        for name in sorted(set(old.get(part, {})) & set(new[part])):
            before, after = (_names(tree[part][name]) for tree in (old, new))
            sure, known = _inherited(old, name) if part == "classes" else (set(), set())
            yield from (f"{part}.{name}: {one} is gone" for one in sorted((sure or _certain(before)) - set(after)))
            yield from (f"{part}.{name}: {one} is new" for one in sorted(set(after) - (known or set(before))))
            for one in sorted(set(before) & set(after)):
                if (was := before[one].get("choices")) != (is_ := after[one].get("choices")) and was and is_:
                    yield f"{part}.{name}: {one} takes {is_}, was {was}"
    for name in sorted(set(old.get("enums", {})) & set(new["enums"])):
        changed = set(old["enums"][name]) ^ set(new["enums"][name])
        yield from (f"enums.{name}: {one} is {'new' if one in new['enums'][name] else 'gone'}" for one in sorted(changed))
    yield from _triton_differences(old, new)


def _triton_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Of tensors: names, types, shapes and whether they may be left out; of parameters and of families their names and values."""
    for model in sorted(set(old.get("triton_models", {})) & set(new.get("triton_models", {}))):
        for part, key in (("inputs", "name"), ("outputs", "name"), ("parameters", "key")):
            before, after = ({one[key]: one for one in tree["triton_models"][model].get(part, ())} for tree in (old, new))
            yield from (f"triton_models.{model}.{part}: {one} is gone" for one in sorted(set(before) - set(after)))
            yield from (f"triton_models.{model}.{part}: {one} is new" for one in sorted(set(after) - set(before)))
            for one in sorted(set(before) & set(after)):
                for fact in ("data_type", "dims", "optional", "reshape"):
                    was, is_ = before[one].get(fact) or None, after[one].get(fact) or None
                    if was != is_:
                        yield f"triton_models.{model}.{part}: {one} has {fact} {is_}, was {was}"
    if new.get("metrics"):
        before, after = old.get("metrics", {}), new["metrics"]
        yield from (f"metrics: {one} is gone" for one in sorted(set(before) - set(after)) if "only_when" not in before[one])
        yield from (f"metrics: {one} is new" for one in sorted(set(after) - set(before)) if before)
        for one in sorted(set(before) & set(after)):
            if (values := after[one].get("values")) and set(values) != set(before[one]["values"]):
                yield f"metrics: {one} has {sorted(values)}, was {sorted(before[one]['values'])}"


def _certain(names: dict[str, Any]) -> set[str]:
    """Without what one of two texts alone has: it may never have been there."""
    return {name for name, facts in names.items() if len(facts.get("seen_in") or "both") > 1}


def _inherited(old: dict[str, Any], name: str) -> tuple[set[str], set[str]]:
    """Of an arguments' class all that is surely, and all that may be its own: its fields on record are without its base's."""
    every = set(old.get("effective_keywords", {}).get(name, ()))
    return set(old.get("effective_keywords_in_both_texts", {}).get(name, ())) or every, every


def _names(facts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = facts.get("fields", facts)
    return found


def _each(places: dict[str, tuple[str, ...]], read: Any, unknown: list[str]) -> Iterator[tuple[str, Any]]:
    for name, modules in places.items():
        try:
            yield name, read(_find(name, modules))
        except (ImportError, AttributeError, TypeError) as error:
            unknown.append(f"{name}: {error}")


def _find(name: str, modules: tuple[str, ...]) -> Any:
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"in none of {', '.join(modules)}")


def _programs(unknown: list[str]) -> Iterator[tuple[str, Any]]:
    built = shutil.which("trtllm-build")
    places = {"trtllm-build": Path(built) if built else None}
    examples = next((Path(place) for place in EXAMPLES if place and Path(place).is_dir()), None)
    places |= {name: examples / path if examples else None for name, path in SCRIPTS.items()}
    for name, path in places.items():
        try:
            if not path or not path.is_file():
                raise ValueError("not found")
            yield name, parser_facts(parser_of(path))
        except Exception as error:  # whatever a program does before it reads its command line
            unknown.append(f"{name}: {error!r}")


def _of_triton(places: Places, unknown: list[str]) -> Iterator[tuple[str, Any]]:
    readers: tuple[tuple[str, Callable[[], Any]], ...] = (
        (LAUNCHER, lambda: parser_facts(parser_of(places.launcher))),
        ("tritonserver", lambda: record_triton.server_flags(str(places.triton / "bin" / "tritonserver"))),
    )
    for name, read in readers:
        try:
            yield name, read()
        except Exception as error:  # whatever a program does before it reads its command line
            unknown.append(f"{name}: {error!r}")


def _families(places: Places, url: str | None, unknown: list[str]) -> dict[str, Any]:
    if url:
        return record_triton.families_of(url)
    libraries = sorted((places.triton / "backends" / "tensorrtllm").glob("libtriton_tensorrtllm*.so"))
    if not libraries:
        unknown.append(f"metric families: no libtriton_tensorrtllm*.so in {places.triton / 'backends' / 'tensorrtllm'}")
        return {}
    unknown.append("labels of the metric families: record with --metrics-url of a server that has served")
    return record_triton.families_in(libraries[0])


def _pydantic_field(field: Any) -> dict[str, Any]:
    return {
        "type": str(field.annotation),
        "default": _plain(field.get_default(call_default_factory=False)),
        "required": field.is_required(),
    }


def _default(field: Any) -> Any:
    return None if field.default is dataclasses.MISSING else field.default


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    return value if isinstance(value, (bool, int, float, str, type(None))) else {"expr": repr(value)}


def main() -> None:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description="Record the API contract of the installed TensorRT-LLM.")
    parser.add_argument("--output", type=Path, default=CONTRACTS, help="directory of the new file; default: tests/contracts")
    parser.add_argument("--all-models", help=f"of Triton's model templates; default: the first of {', '.join(ALL_MODELS)}")
    parser.add_argument("--triton", help=f"where Triton is installed; default: {TRITON}")
    parser.add_argument("--metrics-url", help="page of metrics of a server that has served: labels of the families are recorded too")
    asked = parser.parse_args()
    found = version("tensorrt_llm")
    new = record(found, Places.found(asked.all_models, asked.triton), asked.metrics_url)
    path = asked.output / f"tensorrt_llm_{found}.json"
    path.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}: the tests now hold all that trtbench writes against it too (make test, in a checkout that has the file)")
    for known in sorted(CONTRACTS.glob("tensorrt_llm_*.json")):
        if known != path:
            changed = list(differences(json.loads(known.read_text(encoding="utf-8")), new))
            print(f"\nagainst {known.name}: {len(changed)} differences")
            print("".join(f"  {one}\n" for one in changed), end="")
    print("".join(f"not recorded: {one}\n" for one in new["unknown"]), end="")


if __name__ == "__main__":
    main()
