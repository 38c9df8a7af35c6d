"""The action and the output of `trtbench build`, whose flags replace keys of an engine spec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trtbench.cli.commands import faults_end_in_one_line
from trtbench.cli.dry_run import dry_build
from trtbench.engine.build import DEFAULT_OUTPUT, Built, build_engine, load_spec
from trtbench.engine.spec import BuildLog, EngineSpec
from trtbench.errors import UserError, in_one_line
from trtbench.scenario.parts.part import worded
from trtbench.system.foreign_text import harmless


def flagged_spec(spec: EngineSpec, dtype: str | None, provider: str | None, build: dict[str, Any]) -> EngineSpec:
    """`spec` with the values of the flags. UserError, naming the flag, if spec and flags together describe no valid engine."""
    given = {key: value for key, value in build.items() if value is not None and key != "plugins"}
    if build.get("plugins"):
        given["plugins"] = spec.build.plugins | dict(map(_plugin, build["plugins"]))
    over = {key: value for key, value in (("dtype", dtype), ("provider", provider)) if value}
    keys = spec.model_dump(exclude_defaults=True) | over
    try:
        return EngineSpec.model_validate(keys | {"build": spec.build.asked | given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {worded(first, EngineSpec)}") from error


def _plugin(flag: str) -> tuple[str, str]:
    name, equals, value = flag.partition("=")
    if not equals or not value:
        raise UserError(f"--plugin {flag}: write NAME=VALUE, as gemm_plugin=float16")
    return name, value


def build_command(
    spec_name: str, dtype: str | None, provider: str | None, output: Path | None, dry_run: bool, quiet: bool, build_flags: dict[str, Any]
) -> int:
    spec = flagged_spec(load_spec(spec_name), dtype, provider, build_flags)
    if dry_run:
        dry_build(spec)
        return 0
    show = (lambda step: None) if quiet else (lambda step: print(harmless(f"{step} ..."), file=sys.stderr))
    log = BuildLog(show)
    with faults_end_in_one_line() as fault:
        try:
            _print_built(build_engine(spec, output or DEFAULT_OUTPUT, log), log)
        except OSError as error:
            print(harmless(f"trtbench: {in_one_line(error)}"), file=sys.stderr)
            return 1
    return fault.code


def _print_built(built: Built, log: BuildLog) -> None:
    engine = built.engine
    print(f"{engine.path}")
    print(f"  {engine.model} {engine.dtype} by {engine.provider} ({', '.join(f'{k} {v}' for k, v in engine.provider_versions.items())})")
    print(f"  {engine.size_bytes / 2**20:.1f} MiB, hash {engine.sha256}")
    if engine.kv_dtype != "auto":
        print(f"  KV cache {engine.kv_dtype}, blocks of {engine.kv_block_tokens} tokens")
    if "adopted_from" in engine.options:
        print(f"  adopted from {engine.options['adopted_from']}: its files are links into it")
    for step in log.steps if not built.cached else ():
        print(f"  {step.seconds:7.1f} s  {step.label}")
    if built.cached:
        print("  from the cache: nothing was built")
