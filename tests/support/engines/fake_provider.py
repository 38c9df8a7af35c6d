from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineForecast, EngineSpec
from trtbench.rundir.traits import Traits
from trtbench.tasks.registry import TASKS


class FakeProvider:
    """Builds two small files; `builds` counts, `lacks` is what each precision is short of."""

    name = "fake"
    kv_block_tokens = 16
    tasks = tuple(TASKS)
    traits = Traits()
    fixed_axes: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.builds = 0
        self.reason: str | None = None
        self.lacks: dict[str, str] = {}
        self.fake_versions = {"fake": "1.0"}

    def unavailable(self) -> str | None:
        return self.reason

    def shortage(self, spec: EngineSpec) -> str | None:
        return self.lacks.get(spec.dtype)

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        return EngineForecast()

    def versions(self) -> dict[str, str]:
        return self.fake_versions

    def refusal(self, spec: EngineSpec) -> str | None:
        return None

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        return {"build": spec.build.content} if spec.build.content else {}

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        self.builds += 1
        with log.step("fake export"):
            (job.output / "model.bin").write_bytes(b"w" * 100)
            (job.output / "tokenizer.json").write_text("{}")
        return BuiltFacts(weights_dtype=job.spec.dtype, kv_block_tokens=self.kv_block_tokens)
