"""The real vLLM that the tests of marker `vllm` share: what it answers when token ids, lengths and usage are asked for."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.support.vllm_server import RunningVllm

pytestmark = pytest.mark.vllm

PROMPT = [504, 2988, 282, 4649, 314]
LENGTHS = {"max_tokens": 8, "min_tokens": 8, "ignore_eos": True, "temperature": 0}
COUNTS = {"return_token_ids": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def events(server: RunningVllm, path: str, **body: Any) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{server.url}{path}", json.dumps({"model": server.model, "stream": True, **body}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        lines = [line.removeprefix(b"data: ").strip() for line in reply if line.startswith(b"data: ")]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def test_completions_have_an_event_a_token_with_its_id_and_running_usage(vllm_server: RunningVllm) -> None:
    *tokens, last = events(vllm_server, "/v1/completions", prompt=PROMPT, **LENGTHS, **COUNTS)
    assert [len(event["choices"][0]["token_ids"]) for event in tokens] == [1] * 8
    assert [event["usage"]["completion_tokens"] for event in tokens] == list(range(1, 9))
    assert tokens[0]["choices"][0]["prompt_token_ids"] == PROMPT
    assert last["choices"] == [] and last["usage"]["prompt_tokens"] == len(PROMPT)


def test_chat_begins_with_an_event_that_carries_a_role_and_no_token(vllm_server: RunningVllm) -> None:
    first, *others, _ = events(vllm_server, "/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}], **LENGTHS, **COUNTS)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert sum(len(event["choices"][0]["token_ids"]) for event in others if event["choices"]) == 8
