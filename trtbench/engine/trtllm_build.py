"""`python -m trtbench.engine.trtllm_build PLAN.json`: build one engine through TensorRT-LLM's LLM API, in a process of its own.

The only file that imports tensorrt_llm. A name that the installed class lacks is an error here: some of its classes drop
what they do not know without a word.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from trtbench.engine.trtllm_versions import installed

STATS_FILE = "llm_api_steps.json"


def find(name: str) -> Any:
    """A class of TensorRT-LLM's public names: `tensorrt_llm.llmapi` has them in every release on record, the package itself in some."""
    for module in ("tensorrt_llm.llmapi", "tensorrt_llm"):
        if found := getattr(importlib.import_module(module), name, None):
            return found
    raise ImportError(f"{name} is in neither tensorrt_llm.llmapi nor tensorrt_llm")


def construct(kind: Any, keywords: dict[str, Any]) -> Any:
    """`kind(**keywords)`; TypeError when `kind` has no such keyword, also where it would ignore it."""
    refuse_unknown(kind, keywords)
    return kind(**keywords)


def refuse_unknown(kind: Any, keywords: dict[str, Any]) -> None:
    known = getattr(kind, "model_fields", None)
    if known is None and dataclasses.is_dataclass(kind):
        known = {one.name.lstrip("_") for one in dataclasses.fields(kind)}  # slots forms store under _name
    if known is not None and (unknown := sorted(set(keywords) - set(known))):
        found = installed()
        raise TypeError(f"{kind.__name__} of TensorRT-LLM {found.text if found else '(not installed)'} has no {', '.join(unknown)}")


def set_plugins(config: Any, plugins: dict[str, str]) -> None:
    """By attribute: one form of PluginConfig takes no keywords, another ignores unknown ones; assignment is checked by both."""
    refuse_unknown(type(config), plugins)
    for name, word in plugins.items():
        setattr(config, name, plugin_value(word, isinstance(getattr(config, name), bool)))


def plugin_value(word: str, switch: bool) -> Any:
    """The command line's word as the attribute's value."""
    if word.isdigit():
        return int(word)
    return {"enable": True, "disable": False if switch else None}.get(word, word)


def build(plan: dict[str, Any]) -> None:
    llm_class = importlib.import_module(plan["llm_module"]).LLM
    build_config = construct(find("BuildConfig"), plan["build_config"])
    set_plugins(build_config.plugin_config, plan["plugin_config"])
    keywords = plan["llm"] | {"build_config": build_config}
    if plan["quant_config"]:
        named = {key: find("QuantAlgo")[value] for key, value in plan["quant_config"].items() if value}
        keywords["quant_config"] = construct(find("QuantConfig"), named)
    if plan["calib_config"]:
        keywords["calib_config"] = construct(find("CalibConfig"), plan["calib_config"])
    llm = llm_class(**keywords)  # its argument classes forbid what they do not know
    try:
        output = Path(plan["output"])
        llm.save(str(output))
        steps = getattr(getattr(llm, "llm_build_stats", None), "build_steps_info", None) or []
        (output / STATS_FILE).write_text(json.dumps([[str(label), float(seconds)] for label, seconds in steps]), encoding="utf-8")
    finally:
        llm.shutdown()


if __name__ == "__main__":  # TensorRT-LLM starts its workers by spawning: they import this file again
    build(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
