"""The flags of `trtbench build`, laid over an engine spec."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from trtbench.engine.spec import EngineSpec
from trtbench.errors import UserError
from trtbench.scenario.parts.wording import worded


def flagged_spec(spec: EngineSpec, dtype: str | None, provider: str | None, build: dict[str, Any]) -> EngineSpec:
    """`spec` with what the flags name in its place; UserError naming the flag when the two make no engine."""
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
