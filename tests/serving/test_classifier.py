"""The image classifier on the real server: what a whole run answers is what the checkpoint says, picture by picture and in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.support.command import ran
from tests.support.triton.started_run import StartRun, assert_conserved, run_of, the_deployment
from trtbench.engine.build import PROVIDERS, build_engine
from trtbench.engine.checkpoint import resolve_checkpoint
from trtbench.engine.classifier import IMAGE_SHAPE, RANDOM_CLASSIFIER
from trtbench.engine.spec import BuildLog, EngineSpec
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True)]

MINI = {
    "name": "classifier-mini",
    "task": "infer",
    "model": RANDOM_CLASSIFIER,
    "engines": ["fp16"],
    "deployments": {"d": {"max_batch_size": 4, "dynamic_batching": {"max_queue_delay_us": 20_000}, "inference_threads": 1}},
    "load": [{"concurrency": 4, "requests": 16, "warmup_requests": 4}],
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random pictures and the logits that torch computes of them, as .npz. The engine is built where it is not yet."""
    if reason := PROVIDERS["openvino"].unavailable():
        pytest.skip(reason)
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    build_engine(EngineSpec(model=RANDOM_CLASSIFIER, dtype="fp16", provider="openvino"), ROOT / "engines" / "built", BuildLog(print))
    path = resolve_checkpoint(RANDOM_CLASSIFIER, BuildLog(print)).path
    model = transformers.AutoModelForImageClassification.from_pretrained(path).eval()
    pixels = np.random.default_rng(3).random((4, *IMAGE_SHAPE), dtype=np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels)).logits.numpy()
    file: Path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(file, pixel_values=pixels, logits=logits)
    return file


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_run_answers_what_the_checkpoint_says(start_run: StartRun, pictures: Path, batch_size: int) -> None:
    tensors = {"data": str(pictures), "batch_size": batch_size, "tolerance_ratio": 0.02}
    command = start_run({**MINI, "workload": {"tensors": tensors}})
    assert ran(command.wait(100), command.directory), command.err
    run = run_of(command)
    records = the_deployment(run).requests()
    assert_conserved(records, {("c4", True): 4, ("c4", False): 16})
    assert {record.outcome for record in records} == {Outcome.COMPLETED}, {record.error for record in records}
    (result,) = read_json(run.path / "summary.json")["deployments"]
    batching = result["stages"][0]["triton_batching"]
    assert batching["inferences"] == 16 * batch_size and batching["compute_mean_ns"] > 0
    assert "TTFT" not in (run.path / "report.md").read_text()
