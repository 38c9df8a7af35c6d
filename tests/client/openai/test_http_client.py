"""Requests to a fake server of OpenAI's API: what is recorded of each way in which an answer goes right or wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.fakes.fake_openai import Manners, serving_openai
from tests.support.sending_http import sent_to
from trtbench.client.openai.endpoint_inspection import inspect_endpoint
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import RequestOptions
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

PROMPT = PlannedPrompt(np.array([5, 6, 7, 8], np.int32), 6, seed=1, text="Hello there")


def inspected(
    url: str, endpoint: str = "openai-completions", streaming: bool = True, settings: ClientSettings | None = None
) -> OpenaiTarget:
    options = RequestOptions(endpoint=endpoint, streaming=streaming)
    return inspect_endpoint(url, "m", settings=settings or ClientSettings(), options=options)


def sent(target: OpenaiTarget, requests: int = 1, limit_s: float = 5.0, cancel_after_tokens: int | None = None) -> list[RequestRecord]:
    return sent_to(target, PROMPT, requests, limit_s, cancel_after_tokens)


def faulty(fault: str, endpoint: str = "openai-completions", limit_s: float = 5.0) -> RequestRecord:
    """The record of a request to a server that goes wrong after its probe."""
    with serving_openai() as server:
        target = inspected(server.url, endpoint)
        server.manners.fault = fault
        (record,) = sent(target, limit_s=limit_s)
    return record


@pytest.mark.parametrize("endpoint", ["openai-completions", "openai-chat"])
def test_tokens_are_counted_by_their_ids(endpoint: str) -> None:
    with serving_openai() as server:
        first, second = sent(inspected(server.url, endpoint), requests=2)
    for record in (first, second):
        assert (record.outcome, record.token_counts, record.output_ids) == (Outcome.COMPLETED, [1] * 6, [0, 1, 2, 3, 4, 5])
        assert record.token_ns == sorted(record.token_ns) and record.finish_reason == "length"
        assert record.sent_ns and record.done_ns and record.sent_ns < record.token_ns[0] and record.token_ns[-1] <= record.done_ns
    assert len(server.heads) > 2


def test_requests_carry_ids_and_the_asked_length_and_reuse_the_connection() -> None:
    with serving_openai() as server:
        target = inspected(server.url)
        probes = len(server.bodies)
        sent(target, requests=3)
    bodies = server.bodies[probes:]
    assert [body["prompt"] for body in bodies] == [[5, 6, 7, 8]] * 3
    assert bodies[0] == {
        "model": "m",
        "prompt": [5, 6, 7, 8],
        "max_tokens": 6,
        "stream": True,
        "temperature": 0,
        "ignore_eos": True,
        "min_tokens": 6,
        "return_token_ids": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("streaming", [True, False])
def test_generate_of_triton_counts_the_tokens_of_each_event(streaming: bool) -> None:
    with serving_openai() as server:
        target = inspected(server.url, "generate", streaming)
        (record,) = sent(target)
    assert target.shape.counts == "own_count" and target.server_facts().server_name == "triton 2.51.0"
    assert server.bodies[-1]["text_input"] == "Hello there" and server.bodies[-1]["max_tokens"] == 6
    assert (record.outcome, record.token_counts, record.input_tokens) == (Outcome.COMPLETED, [1] * 6 if streaming else [6], 5)
    assert record.model_version == "1"


def test_an_error_event_of_generate_ends_its_request() -> None:
    record = faulty("error_event", "generate")
    assert (record.outcome, record.token_counts) == (Outcome.OUT_OF_MEMORY, [1, 1, 1])


def test_an_event_of_several_tokens_counts_them_all() -> None:
    with serving_openai(Manners(tokens_an_event=4)) as server:
        (record,) = sent(inspected(server.url))
    assert record.token_counts == [4, 2]


@pytest.mark.parametrize(
    ("refuses", "counts"),
    [
        (frozenset(), "token_ids"),
        (frozenset({"return_token_ids"}), "running_usage"),
        (frozenset({"return_token_ids", "continuous_usage_stats"}), "last_usage"),
        (frozenset({"return_token_ids", "stream_options", "include_usage", "continuous_usage_stats"}), "tokenizer"),
    ],
)
def test_the_best_count_that_the_server_offers_is_used(refuses: frozenset[str], counts: str) -> None:
    with serving_openai(Manners(refuses=refuses, gives_ids="return_token_ids" not in refuses)) as server:
        target = inspected(server.url)
        (record,) = sent(target)
    assert target.shape.counts == counts
    assert set(target.shape.refused) == refuses & {"return_token_ids", "include_usage", "continuous_usage_stats"}
    assert not set(target.shape.asked) & refuses
    assert record.outcome is Outcome.COMPLETED
    assert record.token_counts == ([0] * 6 if counts == "tokenizer" else [1] * 6)
    assert record.output_text == (" a" * 6 if counts == "tokenizer" else "")


def test_a_server_that_takes_no_ids_gets_text() -> None:
    with serving_openai(Manners(takes_ids=False)) as server:
        target = inspected(server.url)
        sent(target)
    assert target.takes_text and server.bodies[-1]["prompt"] == "Hello there"
    assert any("prompts as ids" in note for note in target.notes())


def test_an_answer_in_one_piece() -> None:
    with serving_openai() as server:
        (record,) = sent(inspected(server.url, streaming=False))
    assert (record.outcome, record.token_counts, len(record.token_ns), record.coalesced) == (Outcome.COMPLETED, [6], 1, [])


def test_reasoning_comes_before_the_first_output() -> None:
    with serving_openai(Manners(reasoning_tokens=2)) as server:
        (record,) = sent(inspected(server.url, "openai-chat"))
    assert (record.token_counts, record.reasoning_responses) == ([1] * 6, 2)


def test_an_output_of_another_length_is_recorded_as_it_came() -> None:
    with serving_openai(Manners(makes_tokens=3)) as server:
        (record,) = sent(inspected(server.url))
    assert (record.outcome, record.output_tokens, record.asked_output_tokens) == (Outcome.COMPLETED, 3, 6)


@pytest.mark.parametrize(
    ("fault", "outcome", "error"),
    [
        ("rate_limit", Outcome.REJECTED, "HTTP 429: Rate limit reached"),
        ("denied", Outcome.DENIED, "HTTP 401: Incorrect API key provided"),
        ("gone", Outcome.UNAVAILABLE, "HTTP 404: The model `m` does not exist."),
        ("too_long", Outcome.TOO_LONG, "HTTP 400: This model's maximum context length"),
        ("bad_request", Outcome.BAD_REQUEST, "HTTP 400: unknown role"),
        ("too_late", Outcome.TIMEOUT, "HTTP 504"),
        ("overloaded", Outcome.UNAVAILABLE, "HTTP 503: overloaded"),
        ("page", Outcome.OTHER, "HTTP 200: an HTML page answers"),
        ("redirect", Outcome.OTHER, "HTTP 307: the server redirects to http://elsewhere/"),
        ("not_json", Outcome.OTHER, "malformed answer:"),
        ("error_event", Outcome.OUT_OF_MEMORY, "error event under HTTP status 200: CUDA error: out of memory"),
        ("no_done", Outcome.INCOMPLETE, "the stream ended without [DONE]"),
        ("no_finish", Outcome.INCOMPLETE, "the stream ended without a finish_reason"),
        ("cut", Outcome.CONNECTION, "connection"),
    ],
)
def test_each_fault_has_its_class(fault: str, outcome: Outcome, error: str) -> None:
    record = faulty(fault)
    assert (record.outcome, record.error[: len(error)]) == (outcome, error)
    assert record.done_ns and record.done_ns >= (record.sent_ns or 0)
    assert record.retry_after_s == (7.0 if fault == "rate_limit" else None)


def test_what_came_before_a_fault_is_kept() -> None:
    assert faulty("error_event").token_counts == [1, 1, 1]
    assert faulty("no_done").token_counts == [1] * 6


def test_a_stream_without_end_is_given_up_at_its_time_limit() -> None:
    record = faulty("endless", limit_s=0.5)
    assert record.outcome is Outcome.TIMEOUT and len(record.token_ns) > 6


def test_a_planned_cancellation_ends_the_request() -> None:
    with serving_openai() as server:
        target = inspected(server.url)
        cancelled, _ = sent(target, requests=2, cancel_after_tokens=2)
    assert (cancelled.outcome, cancelled.output_tokens) == (Outcome.CANCELLED, 2)


def test_requests_go_to_several_servers_in_turn() -> None:
    with serving_openai() as one, serving_openai() as two:
        target = inspected(one.url).with_servers([two.url])
        before = len(one.bodies), len(two.bodies)
        sent(target, requests=4)
        assert (len(one.bodies) - before[0], len(two.bodies) - before[1]) == (2, 2)


def outcomes(records: Sequence[RequestRecord]) -> list[Outcome]:
    return [record.outcome for record in records]


def test_a_connection_is_used_again_after_an_error_of_status() -> None:
    with serving_openai() as server:
        target = inspected(server.url)
        server.manners.fault, server.manners.faulty_from = "rate_limit", len(server.bodies) + 1
        records = sent(target, requests=3)
    assert outcomes(records) == [Outcome.COMPLETED, Outcome.REJECTED, Outcome.REJECTED]
