from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from trtbench.engine import host_memory
from trtbench.engine.host_memory import available_bytes, left_by_cgroup


def group(path: Path, limit: str, used: int = 600, cache: int = 100) -> Path:
    (path / "memory.max").write_text(limit + "\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon 500\ninactive_file {cache}\n")
    return path


def test_what_a_container_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_by_cgroup(group(tmp_path, "1000")) == 500
    assert left_by_cgroup(group(tmp_path, "1000", used=1200)) == 0
    assert left_by_cgroup(group(tmp_path, "max")) is None
    assert left_by_cgroup(group(tmp_path, "?")) is None
    assert left_by_cgroup(tmp_path / "nowhere") is None
    monkeypatch.setattr(host_memory, "_CGROUP", group(tmp_path, "1000"))
    assert available_bytes() == 500
    monkeypatch.setattr(host_memory, "_CGROUP", tmp_path / "nowhere")
    assert available_bytes() <= psutil.virtual_memory().total
