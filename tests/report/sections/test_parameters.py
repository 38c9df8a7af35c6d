from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import Words
from trtbench.report.sections.parameters import parameters, workload_text
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.workload.workload import Workload

REST = "; languages en; greedy decoding"
BASE = {"input_tokens": 10, "output_tokens": {"min": 2, "max": 4}, "ignore_eos": False, "languages": ["en"]}


@pytest.mark.parametrize(
    ("stage", "row", "said"),
    [
        ({"concurrency": 8, "requests": 1}, "Concurrent users", "8"),
        ({"concurrency": 8, "requests": 1, "think_s": 1.5}, "Concurrent users", "8 (thinking 1.50 s)"),
        ({"concurrency": {"from": 10, "to": 1000}, "duration_s": 9}, "Concurrent users", "10 → 1000"),
        ({"mode": "poisson", "rate": {"from": 1, "to": 20}, "duration_s": 9}, "Arrival rates", "1 → 20/s (Poisson)"),
        ({"mode": "gamma", "rate": 2, "burstiness": 0.5, "requests": 9}, "Arrival rates", "2/s (gamma)"),
        ({"mode": "burst", "rate": 6, "on_s": 2, "off_s": 3, "duration_s": 9}, "Arrival rates", "6/s (bursts) 2.00 s on / 3.00 s off"),
        ({"mode": "trace", "trace": "a/b.jsonl", "speed": 2}, "Arrival rates", "trace at 2× (b.jsonl, with its own lengths)"),
    ],
)
def test_what_load_was_asked(summary: Summary, stage: dict[str, object], row: str, said: str) -> None:
    scenario = summary.scenario.model_copy(update={"load": (Stage.model_validate(stage),)})
    (table,) = parameters(replace(summary, scenario=scenario), Words("en"))
    assert isinstance(table, Table)
    rows = dict(table.rows)
    assert rows[row] == said
    assert len({"Concurrent users", "Arrival rates"} & set(rows)) == 1


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
