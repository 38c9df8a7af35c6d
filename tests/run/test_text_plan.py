from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fakes.word_prompts import FakeWordPrompts
from trtbench.client.kserve.target import KserveTarget
from trtbench.errors import UserError
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.plan.sources.prompt_source import TokenIds, UniformPrompts, WorkloadError
from trtbench.run.text_plan import check_text, counting, in_text
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


class Merging(FakeWordPrompts):
    """A tokenizer that has the words 1 and 2, next to each other, as one token 999."""

    def decode(self, ids: TokenIds) -> str:
        return " ".join("w1 w2" if token == 999 else f"w{token}" for token in ids.tolist())

    def encode(self, text: str) -> TokenIds:
        return super().encode(text.replace("w1 w2", "w999"))


def scenario(**workload: Any) -> Scenario:
    asked = {"input_tokens": 5, "output_tokens": 3} | workload
    return parse_scenario({"name": "x", "workload": asked, "load": [{"concurrency": 1, "requests": 4, "warmup_requests": 2}]}, "here")


def test_ids_are_the_tokenizers_of_the_text_and_the_plan_is_read_back(tmp_path: Path) -> None:
    plan = in_text(draw_plan(scenario(), Merging()), Merging())
    for prompt in (*plan.stages[0].measured.prompts, *plan.stages[0].warmup.prompts):
        assert prompt.text == Merging().decode(prompt.input_ids) and prompt.text
    save_plan(plan, tmp_path / "plan.jsonl")
    again = load_plan(tmp_path / "plan.jsonl")
    assert again.sha256 == plan.sha256 and again.stages[0].measured.prompts[0].text == plan.stages[0].measured.prompts[0].text


def test_a_text_that_comes_out_at_another_length_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Merging, "draw", lambda self, tokens, random: np.array([1, 2, 3, 1, 2], np.int32))
    plan = in_text(draw_plan(scenario(), Merging()), Merging())
    assert [len(prompt.input_ids) for prompt in plan.stages[0].measured.prompts] == [3] * 4
    assert plan.notes == ("4 of 4 prompts are up to 2 tokens off the length asked, as text",)


def test_without_a_tokenizer_there_is_no_text() -> None:
    source = UniformPrompts(100)
    with pytest.raises(WorkloadError, match="--tokenizer"):
        in_text(draw_plan(scenario(), source), source)


@pytest.mark.parametrize(
    ("workload", "counts", "message"),
    [
        ({"sessions": {"turns": 2}}, True, "workload.sessions: a turn repeats the answers"),
        ({"cancel": {"ratio": 0.5, "after_tokens": 2}}, False, "workload.cancel.after_tokens: M need not report.*give after_s"),
        ({"cancel": {"ratio": 0.5, "after_tokens": 2}}, True, ""),
        ({"cancel": {"ratio": 0.5, "after_s": 2}}, False, ""),
    ],
)
def test_what_a_model_of_text_cannot_be_asked(workload: dict[str, Any], counts: bool, message: str) -> None:
    if not message:
        check_text(scenario(**workload), "M", counts)
        return
    with pytest.raises(UserError, match=message):
        check_text(scenario(**workload), "M", counts)


def test_outputs_are_counted_by_the_tokenizer_only_where_nobody_else_did() -> None:
    silent = KserveTarget("x:1", "m", "", 0, "", frozenset({"text_input", "sampling_param_max_tokens"}), frozenset({"text_output"}))
    ids = KserveTarget("x:1", "m", "", 8, "", frozenset({"input_ids"}), frozenset())
    row = {"output_text": "w1 w2 w3", "echoed_tokens": 1}
    assert counting(silent, Merging())(dict(row))["text_tokens"] == 2 - 1, "the echo's tokens are not the output's"
    assert "text_tokens" not in counting(silent, Merging())({"output_text": "", "echoed_tokens": 0})
    assert "text_tokens" not in counting(ids, Merging())(dict(row))
