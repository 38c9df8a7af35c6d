from __future__ import annotations

from typing import Any

import pytest

from trtbench.report.kit.words import Words
from trtbench.report.sections.deployment_tables import build_text

LIMITS = {"max_batch_size": 2048, "max_input_len": 1024, "max_seq_len": None, "max_num_tokens": 8192}


def engine(**options: Any) -> dict[str, Any]:
    return {"kv_dtype": "int8", "kv_block_tokens": 64, "weights_dtype": "int8", "options": options}


@pytest.fixture
def words() -> Words:
    return Words("en")


def test_an_engine_of_tensorrt_llm(words: Words) -> None:
    text = build_text(engine(limits=LIMITS, tp=2, pp=1, paged_context_fmha=False), words)
    assert text == (
        "batch 2,048, sequence default, 8,192 tokens per step, tp 2 × pp 1, int8 KV in blocks of 64, neither KV reuse nor chunked prefill"
    )
    assert "possible" in str(build_text(engine(limits=LIMITS, paged_context_fmha=True), words))


def test_what_nobody_may_overlook(words: Words) -> None:
    assert "adopted from /e: built elsewhere" in str(build_text(engine(limits=LIMITS, adopted_from="/e"), words))
    assert "trtbench did not check that the server serves it" in str(build_text(engine(claimed_from="/e"), words))
    assert "the speed is meaningful, the text is not" in str(build_text(engine(limits=LIMITS, asked={"dummy_weights": True}), words))
    assert "PyTorch backend serves the checkpoint (FP8)" in str(build_text(engine(backend="pytorch", quant_algo="FP8"), words))


@pytest.mark.parametrize("found", [{}, {"options": None}, {"options": {}}, engine()])
def test_other_engines_say_nothing(words: Words, found: dict[str, Any]) -> None:
    assert build_text(found, words) is None


def test_in_chinese_too() -> None:
    assert "不能复用 KV" in str(build_text(engine(limits=LIMITS), Words("zh")))
