from __future__ import annotations

import platform

import pytest

from trtbench.engine import openvino
from trtbench.engine.openvino import OpenVinoProvider
from trtbench.engine.spec import Engine
from trtbench.scenario import Dtype


def test_says_which_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(openvino._MODULES, "no_such_module", "no-such-package")
    monkeypatch.setitem(openvino._MODULES, "no_such_package.inner", "no-such-inner")
    reason = OpenVinoProvider().unavailable()
    assert reason is not None
    assert "no-such-package, no-such-inner" in reason
    assert "make setup" in reason


def test_says_which_processor_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "needs an x86-64 processor; this is aarch64" in (OpenVinoProvider().unavailable() or "")


def test_the_built_engines_differ_in_weights_only(engines: dict[Dtype, Engine]) -> None:
    fp16, int8 = engines["fp16"], engines["int8"]
    assert fp16.model_facts == int8.model_facts
    assert fp16.checkpoint_sha256 == int8.checkpoint_sha256
    assert fp16.sha256 != int8.sha256
    assert 0.4 < int8.size_bytes / fp16.size_bytes < 0.6
    assert fp16.provider_versions == OpenVinoProvider().versions()
