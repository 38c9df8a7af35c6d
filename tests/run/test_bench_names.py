from __future__ import annotations

import re

import pytest

from trtbench.run.bench import directory_name
from trtbench.scenario.parts.part import NAME_PATTERN


@pytest.mark.parametrize("model", ["tensorrt_llm", "Llama-3.1-8B", "a"])
def test_a_model_names_its_directory(model: str) -> None:
    assert directory_name(model) == model


@pytest.mark.parametrize(
    "model", ["../../etc", "a/b", "", ".", "..", "plots", "report.md", "\x1b[2J", "\u6a21\u578b", "x" * 10_000, "-rf", "a\0b"]
)
def test_a_name_that_can_name_no_directory(model: str) -> None:
    name = directory_name(model)
    assert re.fullmatch(NAME_PATTERN, name)
    assert name not in ("plots", "report.md")
