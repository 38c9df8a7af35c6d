from __future__ import annotations

from pathlib import Path

from trtbench.engine.spec import BuildLog
from trtbench.scenario import Dtype


class FakeProvider:
    """Builds two small files; `builds` counts."""

    name = "fake"
    kv_block_tokens = 16

    def __init__(self) -> None:
        self.builds = 0
        self.reason: str | None = None
        self.fake_versions = {"fake": "1.0"}

    def unavailable(self) -> str | None:
        return self.reason

    def versions(self) -> dict[str, str]:
        return self.fake_versions

    def build(self, checkpoint: Path, dtype: Dtype, output: Path, log: BuildLog) -> None:
        self.builds += 1
        with log.step("fake export"):
            (output / "model.bin").write_bytes(b"w" * 100)
            (output / "tokenizer.json").write_text("{}")
