from __future__ import annotations

import platform
from typing import Any

import pytest

from trtbench.engine.openvino import provider
from trtbench.engine.openvino.provider import OpenVinoProvider
from trtbench.engine.spec import Engine, EngineSpec
from trtbench.scenario.parts.choices import Dtype


def test_says_which_packages_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(provider._MODULES, "no_such_module", "no-such-package")
    monkeypatch.setitem(provider._MODULES, "no_such_package.inner", "no-such-inner")
    reason = OpenVinoProvider().unavailable()
    assert reason is not None
    assert "no-such-package, no-such-inner" in reason
    assert "make setup" in reason


def test_says_which_processor_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "needs an x86-64 processor; this is aarch64" in (OpenVinoProvider().unavailable() or "")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"dtype": "fp8"}, "OpenVINO engines are fp16 or int8, not fp8"),
        ({"dtype": "int8-sq"}, "needs provider tensorrt_llm or llmapi"),
        ({"build": {"kv_dtype": "int8"}}, "chosen by deployments.NAME.kv_cache.dtype"),
        ({"build": {"max_batch_size": 8}}, "build.max_batch_size is an option of TensorRT-LLM's engines"),
    ],
)
def test_refuses_what_is_tensorrt_llms(keys: dict[str, Any], says: str) -> None:
    assert says in str(OpenVinoProvider().refusal(EngineSpec.model_validate({"model": "smollm2-135m"} | keys)))


def test_refuses_nothing_of_its_own() -> None:
    assert [OpenVinoProvider().refusal(EngineSpec(model="smollm2-135m", dtype=dtype)) for dtype in ("fp16", "int8")] == [None, None]
    assert OpenVinoProvider().content(EngineSpec(model="m")) == {}  # the hash of engines built before build: existed


@pytest.mark.process
def test_the_built_engines_differ_in_weights_only(engines: dict[Dtype, Engine]) -> None:
    fp16, int8 = engines["fp16"], engines["int8"]
    assert fp16.model_facts == int8.model_facts
    assert fp16.checkpoint_sha256 == int8.checkpoint_sha256
    assert fp16.sha256 != int8.sha256
    assert 0.4 < int8.size_bytes / fp16.size_bytes < 0.6
    assert fp16.provider_versions == OpenVinoProvider().versions()
