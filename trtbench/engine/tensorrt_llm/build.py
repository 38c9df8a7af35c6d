"""`python -m trtbench.engine.tensorrt_llm.build PLAN.json` builds one engine through TensorRT-LLM's LLM API, in a process of its own.

Only this file and versions.py import tensorrt_llm. A keyword that the installed class lacks is an error here, because some of its
classes ignore unknown keywords silently.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from trtbench.engine.tensorrt_llm.versions import ENGINE_LLM, engine_arguments, find, installed, names_of

STATS_FILE = "llm_api_steps.json"
ERROR_FILE = "llm_api_runtime_error.txt"
_FRACTION = "free_gpu_memory_fraction"


def construct(kind: Any, keywords: dict[str, Any]) -> Any:
    """`kind(**keywords)`; TypeError if `kind` lacks a keyword, including those that it would ignore."""
    refuse_unknown(kind, keywords)
    return kind(**keywords)


def refuse_unknown(kind: Any, keywords: dict[str, Any]) -> None:
    known = names_of(kind)
    if known is not None and (unknown := sorted(set(keywords) - known)):
        found = installed()
        raise TypeError(f"{kind.__name__} of TensorRT-LLM {found.text if found else '(not installed)'} has no {', '.join(unknown)}")


def set_plugins(config: Any, plugins: dict[str, str]) -> None:
    """Set plugins as attributes, which every form of PluginConfig checks. One form takes no keywords, and another ignores unknown ones."""
    refuse_unknown(type(config), plugins)
    for name, word in plugins.items():
        setattr(config, name, plugin_value(word, isinstance(getattr(config, name), bool)))


def plugin_value(word: str, switch: bool) -> Any:
    """The value of the attribute for a word of the command line."""
    if word.isdigit():
        return int(word)
    return {"enable": True, "disable": False if switch else None}.get(word, word)


def build(plan: dict[str, Any]) -> None:
    llm_class = importlib.import_module(ENGINE_LLM).LLM
    build_config = construct(find("BuildConfig"), plan["build_config"])
    set_plugins(build_config.plugin_config, plan["plugin_config"])
    keywords = plan["llm"] | {"build_config": build_config}
    if plan["quant_config"]:
        named = {key: find("QuantAlgo")[value] for key, value in plan["quant_config"].items() if value}
        keywords["quant_config"] = construct(find("QuantConfig"), named)
    if plan["calib_config"]:
        keywords["calib_config"] = construct(find("CalibConfig"), plan["calib_config"])
    args = engine_arguments()
    offered = names_of(args) or set()
    if "workspace" in offered:
        keywords["workspace"] = plan["workspace"]
    if "kv_cache_config" in offered and _FRACTION in (names_of(find("KvCacheConfig")) or ()):
        keywords["kv_cache_config"] = construct(find("KvCacheConfig"), {_FRACTION: 0.1})
    refuse_unknown(args, keywords)
    make(llm_class, keywords, Path(plan["output"]), Path(plan["workspace"]))


def make(llm_class: Any, keywords: dict[str, Any], output: Path, workspace: Path) -> None:
    """Build the engine. The constructor does so, and then starts a runtime that is not needed; if that fails, the engine is complete."""
    try:
        llm = llm_class(**keywords)
    except Exception as error:
        if not (built := finished_engine(workspace)):
            raise
        traceback.print_exc()
        shutil.copytree(built, output, dirs_exist_ok=True)
        (output / ERROR_FILE).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        return
    try:
        llm.save(str(output))
        steps = getattr(getattr(llm, "llm_build_stats", None), "build_steps_info", None) or []
        (output / STATS_FILE).write_text(json.dumps([[str(label), float(seconds)] for label, seconds in steps]), encoding="utf-8")
    finally:
        llm.shutdown()


def finished_engine(workspace: Path) -> Path | None:
    """The engine directory below `workspace`, while the LLM that built it still exists, because its temporary directory is removed with
    it.
    """
    found = (path.parent for path in sorted(workspace.rglob("config.json")))
    return next((path for path in found if (path / "rank0.engine").is_file()), None)


if __name__ == "__main__":  # TensorRT-LLM starts its workers by spawning: they import this file again
    build(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
