from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trtbench.run.resolve.dataset_bounds import bounded
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset

POSITIONS = 8192  # of the demo


def scenario(path: Path, rows: list[Any], **keys: Any) -> Scenario:
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = {"dataset": {"path": str(path)} | keys.pop("dataset", {})} | keys.pop("workload", {})
    return parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "workload": workload} | keys, "x")


def of(found: Scenario) -> Dataset:
    assert found.workload.dataset
    return found.workload.dataset


def test_bounds_are_the_files_longest_row_and_the_models_positions(tmp_path: Path) -> None:
    found = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 3000, "output_tokens": 40}, {"prompt": "x" * 100_000}]))
    assert (of(found).input_tokens, of(found).output_tokens) == (Range(min=1, max=POSITIONS - 1), Range(min=1, max=48))
    assert of(found).most_tokens == POSITIONS
    assert found.workload.longest_request_tokens == POSITIONS
    short = bounded(scenario(tmp_path / "d", [{"input_ids": [1] * 50, "output_tokens": 20}]))
    assert short.workload.longest_request_tokens == 50 + 8 + 32  # a row that does not say its output has the workload's 32
    assert bounded(short) == short


def test_bounds_that_are_given_stay(tmp_path: Path) -> None:
    given = {"input_tokens": {"min": 4, "max": 1024}, "output_tokens": {"min": 4, "max": 1024}}
    asked = scenario(tmp_path / "d", [{"prompt": "x" * 3000}], dataset=given)
    assert bounded(asked) is asked
    partly = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 3000}], dataset={"input_tokens": {"min": 4, "max": 100}}))
    assert of(partly).input_tokens == Range(min=4, max=100)


def test_a_prefix_takes_its_share_of_the_positions(tmp_path: Path) -> None:
    found = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 100_000}], workload={"prefix": {"tokens": 1000}}))
    assert of(found).most_tokens == POSITIONS - 1000
    assert found.workload.longest_request_tokens == POSITIONS


@pytest.mark.parametrize("workload", [{}, {"mix": {"a": {}, "b": {"dataset": None}}}])
def test_a_dataset_of_any_length_passes_the_checks_before_a_build(tmp_path: Path, workload: dict[str, Any]) -> None:
    asked = scenario(tmp_path / "d", [{"prompt": "x" * 500}, {"prompt": "x" * 50_000}], workload=workload)
    found = resolve(asked).scenario
    assert parse_scenario(found.model_dump(mode="json"), "again") == found


def test_an_encoder_has_no_answers(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 9000, "output_tokens": 600}]
    found = bounded(scenario(tmp_path / "d", rows, task="embed", model="minilm-l6-v2"))
    assert (of(found).input_tokens, of(found).output_tokens, of(found).most_tokens) == (Range(min=1, max=512), None, None)
