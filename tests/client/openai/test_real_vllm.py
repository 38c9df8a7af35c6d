"""The real vLLM over both of its endpoints: one plan by each way of counting gives the same tokens, and its errors have their classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from tests.support.command import ran
from tests.support.sending_http import sent_to
from tests.support.vllm_server import MAX_MODEL_TOKENS, RunningVllm
from trtbench.cli.main import main
from trtbench.client.openai.endpoint_inspection import inspect_endpoint
from trtbench.client.openai.request_shape import CountSource
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import RequestOptions, TargetError
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord

pytestmark = pytest.mark.vllm

PROMPT = PlannedPrompt(np.array([504, 2988, 282, 4649, 314], np.int32), 12, seed=1, text="The capital of France is")
KEYS: dict[CountSource, tuple[str, ...]] = {
    "token_ids": ("return_token_ids", "include_usage"),
    "running_usage": ("include_usage", "continuous_usage_stats"),
    "last_usage": ("include_usage",),
    "tokenizer": (),
}


def inspected(server: RunningVllm, endpoint: str = "openai-completions", system_prompt: str = "") -> OpenaiTarget:
    options = RequestOptions(endpoint=endpoint, system_prompt=system_prompt)
    return inspect_endpoint(server.url, server.model, options=options)


def counted(target: OpenaiTarget, source: CountSource) -> RequestRecord:
    """The record of one request whose tokens are counted in this way."""
    shape = replace(target.shape, counts=source, asked=("ignore_eos", "min_tokens", *KEYS[source]))
    (record,) = sent_to(replace(target, shape=shape), PROMPT)
    return record


def test_the_probe_finds_out_what_vllm_takes(vllm_server: RunningVllm) -> None:
    target = inspected(vllm_server)
    assert (target.shape.prompt, target.shape.counts, dict(target.shape.refused)) == ("ids", "token_ids", {})
    assert target.shape.asked == ("ignore_eos", "min_tokens", "return_token_ids", "include_usage")
    assert (target.max_positions, target.server_name) == (MAX_MODEL_TOKENS, "vllm")
    chat = inspected(vllm_server, "openai-chat")
    assert (chat.shape.prompt, chat.shape.length_key, chat.shape.counts) == ("messages", "max_completion_tokens", "token_ids")


@pytest.mark.parametrize("endpoint", ["openai-completions", "openai-chat"])
def test_each_way_of_counting_finds_the_same_tokens(vllm_server: RunningVllm, endpoint: str) -> None:
    target = inspected(vllm_server, endpoint)
    by_ids, *others = (counted(target, source) for source in KEYS)
    assert (by_ids.outcome, by_ids.token_counts, by_ids.finish_reason) == (Outcome.COMPLETED, [1] * 12, "length")
    assert by_ids.input_tokens == len(PROMPT.input_ids) or endpoint == "openai-chat"
    for record in others:
        assert (record.outcome, len(record.token_ns), record.finish_reason) == (Outcome.COMPLETED, 12, "length")
    for record in (by_ids, *others):
        assert 11 not in record.coalesced or record.token_ns[11] == record.token_ns[10], "the end alone does not mark the last token"
    running, last, by_tokenizer = others
    assert running.token_counts == last.token_counts == by_ids.token_counts
    assert running.input_tokens == last.input_tokens == by_ids.input_tokens
    tokenizer = Tokenizer.from_file(str(vllm_server.checkpoint / "tokenizer.json"))
    assert tokenizer.decode(by_ids.output_ids) == by_tokenizer.output_text


def test_a_system_prompt_and_the_template_count_as_input(vllm_server: RunningVllm) -> None:
    (short,) = sent_to(inspected(vllm_server, "openai-chat"), PROMPT)
    (long,) = sent_to(inspected(vllm_server, "openai-chat", "Answer like a pirate who has seen the world. " * 3), PROMPT)
    assert len(PROMPT.input_ids) < short.input_tokens < long.input_tokens


def test_a_prompt_and_an_output_that_never_fit(vllm_server: RunningVllm) -> None:
    (record,) = sent_to(inspected(vllm_server), replace(PROMPT, output_tokens=MAX_MODEL_TOKENS + 1))
    assert record.outcome is Outcome.TOO_LONG and record.error.startswith("HTTP 400: "), record.error


def test_an_unknown_model_before_and_during_the_load(vllm_server: RunningVllm) -> None:
    with pytest.raises(TargetError, match=f"no model 'llama'; it has {vllm_server.model}"):
        inspect_endpoint(vllm_server.url, "llama", options=RequestOptions(endpoint="openai-completions"))
    (record,) = sent_to(replace(inspected(vllm_server), model="llama"), PROMPT)
    assert record.outcome is Outcome.UNAVAILABLE and "does not exist" in record.error


def test_a_cancelled_request_leaves_the_server_to_the_next(vllm_server: RunningVllm) -> None:
    target = inspected(vllm_server)
    (cancelled,) = sent_to(target, replace(PROMPT, output_tokens=200), cancel_after_tokens=2)
    (record,) = sent_to(target, PROMPT)
    assert (cancelled.outcome, cancelled.output_tokens) == (Outcome.CANCELLED, 2)
    assert (record.outcome, record.output_tokens) == (Outcome.COMPLETED, 12)


def test_a_run_from_the_command_line_to_its_report(vllm_server: RunningVllm, tmp_path: Path) -> None:
    asked = ["--tokenizer", str(vllm_server.checkpoint), "--concurrency", "2", "--request-count", "4", "--isl", "16", "--osl", "6"]
    where = ["--endpoint-type", "chat", "--url", vllm_server.url, "--model", vllm_server.model, "--artifact-dir", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, ["bench", *where, *asked])
    assert ran(done.exit_code, tmp_path / "runs"), done.output
    (run,) = map(RunDirectory.open, (tmp_path / "runs").iterdir())
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert [(record.outcome, record.output_tokens) for record in records] == [(Outcome.COMPLETED, 6)] * 4
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "openai-chat at /v1/chat/completions" in report and "vllm 0." in report
