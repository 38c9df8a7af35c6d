"""Stands in for trtllm-build, convert_checkpoint.py and quantize.py: refuses a flag or value that the contract lacks, records its
arguments, prints a log, and writes the files that the real one would, without weights."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.contracts.contract import flags
from tests.contracts.stub_runtime import write_timing_cache
from tests.support.engines.engine_directory import of_checkpoint, write_engine

LOGS = Path(__file__).parents[1] / "engine" / "logs"


def parse(argv: list[str], known: dict[str, Any]) -> dict[str, Any]:
    """{flag without dashes: value}; ValueError as argparse would exit."""
    names = {alias: flag for flag, facts in known.items() for alias in (flag, *facts.get("aliases", ()))}
    found: dict[str, Any] = {}
    words = list(argv)
    while words:
        flag = words.pop(0)
        if flag not in names:
            raise ValueError(f"unrecognized arguments: {flag}")
        facts = known[names[flag]]
        value = True if facts["type"] == "flag" else _value(names[flag], words.pop(0), facts)
        found[names[flag].removeprefix("--")] = value
    return found


def _value(flag: str, word: str, facts: dict[str, Any]) -> Any:
    value: Any = {"int": int, "float": float}.get(facts["type"], str)(word)
    if facts.get("choices") and value not in facts["choices"]:
        raise ValueError(f"argument {flag}: invalid choice: {word!r} (choose from {facts['choices']})")
    if "range" in facts and not facts["range"][0] <= value <= facts["range"][1]:
        raise ValueError(f"argument {flag}: {word} is out of range")
    return value


def main(program: str, contract_name: str) -> None:
    try:
        found = parse(sys.argv[1:], flags(contract_name, program))
    except ValueError as error:
        sys.exit(f"{program}: error: {error}")
    with Path(os.environ["TRTLLM_STUB_RECORD"]).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"program": program, **found}) + "\n")
    if os.environ.get("TRTLLM_STUB_FAILS") == program:
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", flush=True)
        sys.exit(1)
    if program == "trtllm-build":
        _build(found, contract_name)
    else:
        _convert(found)


def _convert(found: dict[str, Any]) -> None:
    """The quantisation goes into the checkpoint's config.json, from where trtllm-build reads it."""
    output = Path(found["output_dir"])
    output.mkdir(parents=True)
    if "calib_dataset" in found:
        texts = (Path(found["calib_dataset"]) / "train.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(texts) >= found["calib_size"]
    (output / "config.json").write_text(json.dumps(found))
    print((LOGS / "convert.txt").read_text(encoding="utf-8"))


ALGORITHMS = {"int8_wo": "W8A16", "int8_sq": "W8A8_SQ_PER_CHANNEL", "fp8": "FP8", "full_prec": None}


def _build(found: dict[str, Any], contract_name: str) -> None:
    source = Path(found["model_config"]) if "model_config" in found else Path(found["checkpoint_dir"]) / "config.json"
    converted = json.loads(source.read_text())
    write_timing_cache(found.get("output_timing_cache", flags(contract_name, "trtllm-build")["--output_timing_cache"]["default"]))
    algorithm = ALGORITHMS.get(converted.get("qformat", "full_prec"))
    if converted.get("use_weight_only"):
        algorithm = "W8A16"
    if converted.get("smoothquant"):
        algorithm = "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"
    kv = converted.get("kv_cache_dtype", "int8" if converted.get("int8_kv_cache") else None)
    write_engine(
        Path(found["output_dir"]),
        algorithm=algorithm,
        kv_algorithm=kv and kv.upper(),
        compute="bfloat16" if converted["dtype"] == "bfloat16" else "float16",
        tp=converted["tp_size"],
        pp=converted["pp_size"],
        limits={key: value for key, value in found.items() if key.startswith("max_")},
        kv_block_tokens=found.get("tokens_per_block", 32),
        paged_context_fmha=found.get("use_paged_context_fmha", "enable") == "enable" and kv != "int8",
        **of_checkpoint(Path(converted["model_dir"])),
    )
    print((LOGS / "trtllm-build.txt").read_text(encoding="utf-8"))
