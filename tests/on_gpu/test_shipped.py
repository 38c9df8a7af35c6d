"""Every scenario that ships, as it is, on TensorRT-LLM: nothing but the provider and the model is said."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.on_gpu.nodes import Node
from tests.support.fakes.fake_gpu import ROOT
from trtbench.system import packaged_data

pytestmark = pytest.mark.timeout(120)

OF_OTHER_TASKS = {"adaptive-batching", "encoder", "encoder-long", "hot-reload-encoder", "resnet", "response-cache"}
ON_VLLM = {"front-ends"}  # serves with vLLM too, which the container does not have
SHIPPED = sorted({path.stem for path in packaged_data.SCENARIOS.glob("*.yaml")} - OF_OTHER_TASKS - ON_VLLM)
ON_LLMAPI = ("kv-cache", "long-context", "scaling")  # they set nothing of Triton's batcher, which is off there
SHOWN = re.compile(r"^trtbench (serve-and-bench .*--set provider=tensorrt_llm --set model=MODEL --dry-run)$", re.MULTILINE)
PAGES = ("batching", "kv-cache", "long-context", "hot-reload", "scaling")


def dry_run(node: Node, scenario: str, provider: str, *more: str) -> str:
    done = node.trtbench(
        "serve-and-bench", scenario, "--set", f"provider={provider}", "--set", f"model={node.checkpoint}", *more, "--dry-run"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"provider {provider}" in done.stdout
    return done.stdout


@pytest.mark.parametrize("scenario", SHIPPED)
def test_a_shipped_scenario_is_taken_as_it_is(node: Node, scenario: str) -> None:
    assert "engines to build, or found in the cache" in dry_run(node, scenario, "tensorrt_llm")


@pytest.mark.parametrize("scenario", ON_LLMAPI)
def test_the_llm_api_takes_those_without_tritons_batcher(node: Node, scenario: str) -> None:
    assert "engines to build" not in dry_run(node, scenario, "llmapi", "--set", "engines=[fp16]")  # the checkpoint is not quantised


def test_what_the_grid_leaves_out_is_said(node: Node) -> None:
    said = dry_run(node, "batching", "tensorrt_llm")
    assert "grid: 2 cells x 3 rounds x 1 engine(s) = 6 runs" in said
    assert "left out: instances: provider tensorrt_llm cannot vary it: it has one instance a server" in said
    assert "left out: max_tokens_per_step 8: TensorRT-LLM builds for no fewer than the 32 tokens of a KV block" in said
    assert "in the cache: 2: fp16 for 1 sequences, 256 tokens a step; fp16 for 8 sequences, 256 tokens a step" in said


def test_what_the_scaling_leaves_out_is_said(node: Node) -> None:
    said = dry_run(node, "scaling", "tensorrt_llm")
    assert "left out: instances: " in said and "left out: inference_threads: " in said
    assert "servers-2-r3" in said and "threads-2" not in said


def test_an_encoders_plan_is_not_reloaded_and_the_page_says_so() -> None:
    """The refusal itself: tests/run/resolve/test_preflight.py."""
    page = (ROOT / "docs" / "hot-reload.md").read_text(encoding="utf-8")
    assert "`hot-reload-encoder` is refused with provider `tensorrt`" in page


@pytest.mark.parametrize("page", PAGES)
def test_the_command_of_each_page_runs(node: Node, page: str) -> None:
    (command,) = SHOWN.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    done = node.trtbench(*shlex.split(command.replace("MODEL", str(node.checkpoint))))
    assert done.returncode == 0, done.stderr
