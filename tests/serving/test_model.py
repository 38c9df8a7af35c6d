"""The Triton model on a real server: what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.support.triton.kserve import Answer, Serving, ask

pytestmark = [pytest.mark.triton, pytest.mark.timeout(60, func_only=True)]

OUTPUT_TOKENS = 24


def _ask(server: Serving, ids: list[int], **more: Any) -> Answer:
    return ask(
        server.url, server.engine.model, **{"input_ids": ids, "request_output_len": OUTPUT_TOKENS, "end_id": -1, "streaming": True} | more
    )


@pytest.fixture(scope="module")
def greedy(int8_server: Serving, prompts: list[list[int]]) -> list[Answer]:
    """Each prompt's greedy answer."""
    answers = [_ask(int8_server, ids) for ids in prompts]
    assert not any(answer.error for answer in answers)
    return answers


def test_greedy_ids_are_those_of_the_engine_without_a_server(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    asked = json.dumps([[ids, OUTPUT_TOKENS] for ids in prompts])
    command = [sys.executable, str(Path(__file__).parents[1] / "support" / "triton" / "reference.py"), str(int8_server.engine.path)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)
    assert [answer.ids for answer in greedy] == expected
    assert len({tuple(ids) for ids in expected}) == len(prompts)  # else the comparison would prove nothing
    assert all(len(set(ids)) > OUTPUT_TOKENS / 3 for ids in expected)


def test_every_step_is_a_response_and_only_the_last_is_final(greedy: list[Answer]) -> None:
    for answer in greedy:
        assert [len(part.ids) for part in answer.parts] == [1] * OUTPUT_TOKENS
        assert [part.final for part in answer.parts] == [False] * (OUTPUT_TOKENS - 1) + [True]


def test_responses_come_as_they_are_made(greedy: list[Answer]) -> None:
    for answer in greedy:
        arrivals = [part.at_ns for part in answer.parts]
        assert arrivals == sorted(arrivals)
        assert arrivals[len(arrivals) // 2] < answer.done_ns - (answer.done_ns - answer.sent_ns) / 10  # not all in one go at the end


def test_without_streaming_there_is_one_response(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    answer = _ask(int8_server, prompts[0], streaming=False)
    assert [part.final for part in answer.parts] == [True]
    assert answer.ids == greedy[0].ids


def test_text_is_worth_its_token_ids(int8_server: Serving, prompts: list[list[int]], tokenizer: Tokenizer) -> None:
    text = "La température à Zürich est de 20 °C. 天气很好。"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    more = {"max_tokens": 8, "end_id": -1, "streaming": True}
    by_text = ask(int8_server.url, int8_server.engine.model, text_input=text, **more)
    by_ids = ask(int8_server.url, int8_server.engine.model, input_ids=ids, **more)
    assert not by_text.error
    assert by_text.ids == by_ids.ids
    assert len(by_text.ids) == 8


def test_input_lengths_cuts_the_padding_off(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    padded = [*prompts[0], 0, 0, 0, 0]
    assert _ask(int8_server, padded, input_lengths=len(prompts[0])).ids == greedy[0].ids


def test_an_end_id_ends_the_output_where_it_comes(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    end_id = greedy[0].ids[10]
    first = greedy[0].ids.index(end_id)
    answer = _ask(int8_server, prompts[0], end_id=end_id)
    assert answer.ids in (greedy[0].ids[:first], greedy[0].ids[: first + 1])
    assert answer.parts[-1].final
    assert sum(part.final for part in answer.parts) == 1


def test_ignore_eos_generates_past_the_end_id(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    answer = _ask(int8_server, prompts[0], end_id=int8_server.engine.model_facts.eos_token_id, ignore_eos=True)
    assert answer.ids == greedy[0].ids


def test_an_output_of_one_token(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    answer = _ask(int8_server, prompts[0], request_output_len=1)
    assert [(part.ids, part.final) for part in answer.parts] == [(greedy[0].ids[:1], True)]


def test_a_seed_decides_what_is_sampled(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    sampling = {"temperature": 1.5, "runtime_top_p": 0.95}
    first, again, other = (_ask(int8_server, prompts[2], **sampling, seed=seed) for seed in (7, 7, 8))
    assert first.ids == again.ids
    assert len({tuple(first.ids), tuple(other.ids), tuple(greedy[2].ids)}) == 3
    assert len(other.ids) == OUTPUT_TOKENS


def test_top_k_of_one_is_greedy(int8_server: Serving, prompts: list[list[int]], greedy: list[Answer]) -> None:
    assert _ask(int8_server, prompts[1], temperature=1.0, runtime_top_k=1, seed=3).ids == greedy[1].ids


@pytest.mark.parametrize("streaming", [True, False])
def test_the_input_comes_first_where_it_is_asked_for(
    int8_server: Serving, prompts: list[list[int]], greedy: list[Answer], streaming: bool
) -> None:
    answer = _ask(int8_server, prompts[0], exclude_input_in_output=False, streaming=streaming)
    assert answer.ids == prompts[0] + greedy[0].ids


def test_the_servers_instants_lie_in_order_within_the_clients(int8_server: Serving, prompts: list[list[int]]) -> None:
    answer = _ask(int8_server, prompts[3], return_perf_metrics=True)
    for part in answer.parts:
        arrival, scheduled, first, last = part.times.values()
        assert answer.sent_ns <= arrival <= scheduled <= first <= last <= part.at_ns
    firsts = {tuple(part.times.values())[:3] for part in answer.parts}
    assert len(firsts) == 1
    lasts = [part.times["last_token_time_ns"] for part in answer.parts]
    assert lasts == sorted(set(lasts))
    assert answer.parts[0].times["first_token_time_ns"] == lasts[0] <= answer.parts[0].at_ns


def test_no_instants_unless_asked(greedy: list[Answer]) -> None:
    assert not any(part.times for answer in greedy for part in answer.parts)
