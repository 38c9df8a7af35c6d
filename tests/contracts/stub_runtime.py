"""Runs inside the stub package `tensorrt_llm` that stub.py writes: its classes, made from a contract, that refuse every unknown name
and every value of another type, also where the real class would silently drop or take it."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import typing
from pathlib import Path
from typing import Any

import pydantic

from tests.contracts.contract import all_llm_fields, fields, llm_keywords, pytorch_keywords
from tests.contracts.contract import enum as algorithms
from tests.support.engines.engine_directory import of_checkpoint, write_engine


def type_of(text: str) -> Any:
    """The type that a contract's text names; Any where it names a class of TensorRT-LLM's."""
    try:
        return eval(text, vars(typing) | {"Path": Path})  # data of ours
    except NameError:
        return Any


def check(where: str, known: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in known:
            raise TypeError(f"{where} has no {name}")
        adapter = pydantic.TypeAdapter(type_of(known[name].get("type") or "Any"), config={"strict": True, "arbitrary_types_allowed": True})
        adapter.validate_python(value)


def default(facts: dict[str, Any]) -> Any:
    return None if isinstance(facts.get("default"), dict) else facts.get("default")


def make_class(kind: str, name: str, form: str) -> type:
    """`form`: dataclass, pydantic, or slots (takes no keywords; attributes only)."""
    known = fields(name, kind)
    if form == "pydantic":
        members: dict[str, Any] = {field: (type_of(facts.get("type") or "Any"), default(facts)) for field, facts in known.items()}
        config = pydantic.ConfigDict(extra="forbid", strict=True, validate_assignment=True, arbitrary_types_allowed=True)
        return pydantic.create_model(kind, __config__=config, **members)

    def remember(self: Any, field: str, value: Any) -> None:
        check(kind, known, {field: value})
        object.__setattr__(self, field, value)

    stored = "_" if form == "slots" else ""
    made = dataclasses.make_dataclass(
        kind,
        [(stored + field, Any, dataclasses.field(default=default(facts), init=form != "slots")) for field, facts in known.items()],
    )
    if form == "slots":
        for field, facts in known.items():
            setattr(made, field, default(facts))
        made.__init__ = lambda self: None  # type: ignore[method-assign]
    made.__setattr__ = remember  # type: ignore[method-assign, assignment]
    return made


def make_algorithms(name: str) -> type[enum.Enum]:
    members = {member: member for member in algorithms(name, "QuantAlgo")}
    return enum.Enum("QuantAlgo", members, type=str)  # type: ignore[return-value]


def given(value: Any) -> Any:
    """For the record."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return vars(value) if dataclasses.is_dataclass(value) else value


def make_args(name: str, kind: str) -> type:
    """Only asked for its names: the LLM checks the values."""
    known = llm_keywords(name) if kind != "TorchLlmArgs" else pytorch_keywords(name)
    members: dict[str, Any] = {f"of_{field}": (Any, pydantic.Field(None, alias=field)) for field in known}
    return pydantic.create_model(kind, **members)


def say_steps() -> None:
    """As TensorRT-LLM's logger does: nothing, unless its variable asks for it."""
    if os.environ.get("TLLM_LOG_LEVEL", "error").lower() in ("info", "verbose", "debug", "trace"):
        print((Path(__file__).parents[1] / "engine" / "logs" / "trtllm-build.txt").read_text(encoding="utf-8"), flush=True)


def write_timing_cache(path: str | None) -> None:
    """As builder.py does after the engine was built and before it is saved: unguarded, and by default into the working directory."""
    if path is not None:
        Path(path).write_bytes(b"timings")


def over_the_build(version: str, keywords: dict[str, Any]) -> None:
    """1.2 clamps; earlier versions raise."""
    if version.startswith("1.2"):
        return
    for field in ("max_batch_size", "max_num_tokens"):
        asked, built = keywords.get(field), getattr(keywords["build_config"], field)
        if asked and built and asked > built:
            raise ValueError(f"{field} [{asked}] is greater than build_config.{field} [{built}] in build_config")


def make_llm(name: str, version: str, plugin_class: type) -> type:
    known = {field: facts for field, facts in all_llm_fields(name).items() if field in llm_keywords(name)}

    class LLM:
        def __init__(self, model: str, **keywords: Any) -> None:
            check("LLM", known, keywords)
            over_the_build(version, keywords)
            self.keywords, self.model = keywords, Path(model)
            steps = [("Loading HF model to memory", 1.5), ("Building TRT-LLM engine", 30.25)]
            self.llm_build_stats = type("LlmBuildStats", (), {"build_steps_info": steps})()
            say_steps()
            variables = {key: value for key, value in os.environ.items() if key.startswith("TLLM_")}
            record = {"model": model, "variables": variables} | {key: given(value) for key, value in keywords.items()}
            record["plugin_config"] = {key: value for key, value in vars(keywords["build_config"].plugin_config).items() if value}
            with Path(os.environ["TRTLLM_STUB_RECORD"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, default=str) + "\n")
            write_timing_cache(keywords["build_config"].output_timing_cache)
            if os.environ.get("TRTLLM_STUB_FAILS") == "runtime":
                self.save(str(Path(keywords["workspace"]) / "a-llm-workspace" / "tmp.engine"))
                raise RuntimeError("CUDA out of memory while the executor starts")

        def save(self, engine_dir: str) -> None:
            config, quant = self.keywords["build_config"], self.keywords.get("quant_config")
            dtype = self.keywords["dtype"]
            kv = getattr(quant, "kv_cache_quant_algo", None)
            limits = {key: value for key in ("max_batch_size", "max_seq_len", "max_num_tokens") if (value := getattr(config, key))}
            write_engine(
                Path(engine_dir),
                version=version,
                algorithm=getattr(quant, "quant_algo", None),
                kv_algorithm=kv,
                compute="float16" if dtype == "auto" else dtype,
                limits=limits,
                kv_block_tokens=config.plugin_config.tokens_per_block,
                paged_context_fmha=config.plugin_config.use_paged_context_fmha and kv != "INT8",
                **of_checkpoint(self.model),
            )

        def shutdown(self) -> None:
            pass

    return LLM
