from __future__ import annotations

import pytest

from trtbench.report.kit.words import Words
from trtbench.report.sections.workload import workload_text
from trtbench.scenario.workload.workload import Workload

REST = "; languages en; greedy decoding"
BASE = {"input_tokens": 10, "output_tokens": {"min": 2, "max": 4}, "ignore_eos": False, "languages": ["en"]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "input 10 tokens, output 2–4 tokens"),
        ({"ignore_eos": True}, "input 10 tokens, output 2–4 tokens; output of exactly this length (ignore_eos)"),
        ({"input_tokens": {"values": [1, 3]}}, "input 1–3 (mean 2) tokens, output 2–4 tokens"),
        (
            {"prefix": {"groups": 2, "tokens": 5, "share_ratio": 0.5}},
            "input 10 tokens, output 2–4 tokens, 2 shared prefix(es) of 5 tokens in 50%",
        ),
        ({"sessions": {"turns": 3}}, "input 10 tokens, output 2–4 tokens, sessions of 3 turns"),
        ({"dataset": "a/chats.json", "sessions": {}}, "prompts and lengths of chats.json, the file's conversations as sessions"),
        ({"cancel": {"ratio": 0.1, "after_s": 1}}, "input 10 tokens, output 2–4 tokens, 10% cancelled as planned"),
        ({"duplicate_ratio": 0.25}, "input 10 tokens, output 2–4 tokens; 25% repeat an earlier prompt"),
        (
            {"mix": {"chat": {"weight": 3}, "search": {"input_tokens": 99}}},
            "chat (75%): input 10 tokens, output 2–4 tokens; search (25%): input 99 tokens, output 2–4 tokens",
        ),
    ],
)
def test_what_was_asked_of_the_model(more: dict[str, object], said: str) -> None:
    assert workload_text(Workload.model_validate(BASE | more), Words("en")) == said + REST
