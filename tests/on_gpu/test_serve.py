"""TensorRT-LLM's C++ backend behind Triton, from engine to report: load, KV cache, hot reload, context limit, want of memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.on_gpu.nodes import BUILD, KV_BLOCKS, Node
from tests.support.triton.started_run import assert_conserved
from trtbench.analysis.summary import summarise
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS
from trtbench.experiments.grid.frontier import FRONTIERS
from trtbench.experiments.hot_reload.reloads import RELOADS
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS
from trtbench.experiments.scaling.scaling_curve import SCALINGS
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome

pytestmark = pytest.mark.timeout(120)

SERVED: dict[str, Any] = {"kv_cache": {"blocks": KV_BLOCKS}, "dynamic_batching": {"max_queue_delay_us": 1000}}
WORKLOAD = {"input_tokens": {"min": 16, "max": 64}, "output_tokens": 16}
GAUGES = {
    *("inflight_active_requests", "inflight_scheduled_requests", "inflight_waiting_requests", "inflight_context_requests"),
    *("inflight_max_requests", "inflight_context_tokens", "inflight_generation_requests", "inflight_paused_requests"),
    *("kv_blocks_max", "kv_blocks_used", "kv_blocks_free", "kv_blocks_reused", "kv_block_tokens", "engine_memory_bytes"),
    *("engine_iterations", "engine_input_tokens", "engine_output_tokens", "triton_pending_requests", "triton_success_count"),
}
"""Every series of docs/telemetry.md that the backend's page and Triton's statistics give."""


@pytest.fixture
def backend(node: Node) -> Node:
    node.needs_triton("tensorrtllm")
    return node


def the_deployment(run: RunDirectory) -> DeploymentDirectory:
    (found,) = run.deployments()
    return found


def test_a_load_on_fp16_and_int8(backend: Node) -> None:
    load = [{"concurrency": 4, "requests": 24, "warmup_requests": 2}, {"mode": "poisson", "rate": 10, "requests": 20}]
    run = backend.run({"name": "load", "engines": ["fp16", "int8"], "deployments": {"a": SERVED}, "workload": WORKLOAD, "load": load})
    assert [deployment.name for deployment in run.deployments()] == ["a-fp16", "a-int8"]
    for deployment in run.deployments():
        records, samples = deployment.requests(), deployment.samples()
        assert_conserved(records, {("c4", False): 24, ("c4", True): 2, ("poisson-10", False): 20})
        assert {record.outcome for record in records} == {Outcome.COMPLETED}
        assert {record.output_tokens for record in records} == {16}
        assert sorted(GAUGES - set(samples.names())) == []
        assert samples.series("kv_blocks_max")[1].max() == KV_BLOCKS
        assert 0 < samples.series("kv_blocks_used")[1].max() <= KV_BLOCKS
        assert samples.series("engine_output_tokens")[1].max() == sum(record.output_tokens for record in records)
    summary = summarise(run)
    assert not any(reason.code == "tokens_differ" for reason in summary.verdict.reasons)
    assert (run.path / "report.md").is_file()


def test_the_log_of_a_load_is_read(backend: Node) -> None:
    load = [{"concurrency": 1, "requests": 2}]
    run = backend.run({"name": "log", "engines": ["fp16"], "deployments": {"a": SERVED}, "workload": WORKLOAD, "load": load})
    facts = read_json(the_deployment(run).path / "deployment.json")
    log = facts["log"]
    found = {name: log.get(name) for name in ("max_batch_size", "max_step_tokens", "max_sequence_tokens", "max_beam_width")}
    assert found == {"max_batch_size": 16, "max_step_tokens": 512, "max_sequence_tokens": 1024, "max_beam_width": 1}
    assert log["engine_version"] == backend.build("fp16").provider_versions["tensorrt_llm"]
    assert (log["kv_tokens"], log["max_input_tokens"]) == (KV_BLOCKS * 32, BUILD["max_seq_len"] - 1)  # chunked context is on
    assert log["scheduler_policy"] == "GUARANTEED_NO_EVICT"
    assert {"engine_bytes", "gpu_total_bytes", "gpu_available_bytes"} <= set(log)


def test_a_full_kv_cache_reuse_and_cancels(backend: Node) -> None:
    """Twelve requests of 6 blocks do not go into 48 blocks at once."""
    small = SERVED | {"kv_cache": {"blocks": 48}}
    scenario = {
        "name": "kv",
        "engines": ["fp16"],
        "deployments": {"off": small, "on": SERVED | {"kv_cache": {"blocks": 48, "prefix_caching": True}}},
        "workload": {"prefix": {"tokens": 64}, "input_tokens": 64, "output_tokens": 64, "cancel": {"ratio": 0.25, "after_tokens": 6}},
        "load": [{"concurrency": 1, "requests": 8}, {"concurrency": 12, "requests": 36}],
    }
    run = backend.run(scenario)
    off, on = (deployment.samples() for deployment in run.deployments())
    assert off.series("kv_blocks_used")[1].max() <= 48
    assert on.series("kv_blocks_reused")[1].max() > off.series("kv_blocks_reused")[1].max()
    for deployment in run.deployments():
        records = deployment.requests()
        assert_conserved([r for r in records if r.outcome is not Outcome.CANCELLED], _kept(records))
        assert {record.outcome for record in records} == {Outcome.COMPLETED, Outcome.CANCELLED}
    summary = summarise(run)
    assert summary.deployments[0].kv_blocks_left in (0, None)  # None: the gauges stand still once nothing runs, as the backend's do
    assert summary.deployments[0].found[CANCELLATIONS]


def _kept(records: list[Any]) -> dict[tuple[str, bool], int]:
    kept = [record for record in records if record.outcome is not Outcome.CANCELLED]
    return {(stage, False): sum(record.stage == stage for record in kept) for stage in ("c1", "c12")}


def test_a_new_version_takes_over_and_a_cut_engine_does_not(backend: Node) -> None:
    reloads = [{"kind": "new_version", "to": "int8"}, {"kind": "broken", "broken": "engine"}, {"kind": "unload_load"}]
    every_s = 20 if backend.real else 3
    scenario = {
        "name": "reload",
        "engines": ["fp16"],
        "deployments": {"a": SERVED},
        "workload": WORKLOAD,
        "load": [{"mode": "constant", "rate": 5, "duration_s": 2 + 3 * every_s}],
        "hot_reload": {"before_s": 1, "every_s": every_s, "reloads": reloads},
    }
    run = backend.run(scenario)
    found = summarise(run).deployments[0].found[RELOADS]
    assert found
    new, broken, again = found.reloads
    assert (new.loaded, broken.loaded, again.loaded) == (True, False, True), [new.error, broken.error, again.error]
    assert broken.served_on == ("2",) and broken.error
    assert new.failed == {} and broken.failed == {}
    assert {"1", "2"} <= set(found.versions)


def test_the_context_limit_is_what_one_step_holds(backend: Node) -> None:
    scenario = {
        "name": "limit",
        "engines": ["fp16"],
        "deployments": {"a": SERVED | {"scheduler": {"chunked_prefill": False}}},
        "workload": {"input_tokens": 16, "output_tokens": 4},
        "context_limit": {"concurrency": [1, 2], "output_tokens": 4, "confirm": 1, "extreme_tokens": [5000]},
    }
    limits = summarise(backend.run(scenario)).deployments[0].found[CONTEXT_LIMITS]
    assert limits and limits.ended == "done"
    assert (limits.predicted_tokens, limits.predicted_by) == (BUILD["max_num_tokens"], "prompt")
    for limit in limits.limits:
        assert limits.agrees(limit) is True, limit
        assert (limit.failure, limit.refuted) == ("length_rule", 0)
    assert limits.unhealthy == ()
    assert next(trial for trial in limits.trials if trial.phase == "extreme").failure == "length_rule"


def test_a_gpu_that_the_ballast_leaves_too_little_of_is_said_so(backend: Node) -> None:
    """CUDA's context alone takes some 0.3 GiB; what is left does not hold the runtime's buffers."""
    scenario = {
        "name": "ballast",
        "engines": ["fp16"],
        "deployments": {"a": SERVED},
        "workload": WORKLOAD,
        "load": [{"concurrency": 1, "requests": 2}],
        "gpu": {"devices": [0], "memory_leave_free_gib": 0.4, "require_idle": False},
    }
    backend.build("fp16")  # with all of the memory
    done = backend.serve_and_bench(scenario, FAKE_MEMORY_MIB="100")
    assert done.returncode != 0
    assert "GPU memory ran out" in done.stderr
    assert "GPU 0" in backend.trtbench("gpu", "status").stdout  # and the ballast is gone with the run


def test_a_grid_over_the_engines_limits_builds_one_engine_for_each(backend: Node) -> None:
    """Two cells, two rounds, two engines; the second round finds those of the first."""
    scenario = {
        "name": "grid",
        "engines": ["fp16"],
        "build": {"max_seq_len": 1024},
        "deployments": {"base": SERVED | {"scheduler": {"max_tokens_per_step": 512}, "cpu": {"inference_threads": 1}}},
        "grid": {"max_sequences": [2, 4], "instances": [1, 2], "repeats": 2},
        "workload": WORKLOAD,
        "load": [{"concurrency": 6, "requests": 24}],
    }
    run = backend.run(scenario)
    served = {deployment.name: deployment for deployment in run.deployments()}
    assert sorted(served) == ["s2-r1-fp16", "s2-r2-fp16", "s4-r1-fp16", "s4-r2-fp16"]
    hashes = {name: read_json(deployment.path / "engine.json")["sha256"] for name, deployment in served.items()}
    assert hashes["s2-r1-fp16"] == hashes["s2-r2-fp16"] != hashes["s4-r1-fp16"] == hashes["s4-r2-fp16"]
    for name, deployment in served.items():
        facts = read_json(deployment.path / "deployment.json")
        assert (facts["log"]["max_batch_size"], facts["log"]["max_step_tokens"]) == (int(name[1]), 512)  # what the backend says of it
        assert facts["config"]["scheduler"]["max_sequences"] == int(name[1])
        assert {record.outcome for record in deployment.requests()} == {Outcome.COMPLETED}
    (frontier,) = summarise(run).found[FRONTIERS]
    assert [(cell.name, cell.complete) for cell in frontier.cells] == [("s2", True), ("s4", True)]
    assert "provider tensorrt_llm cannot vary it: it has one instance a server" in (run.path / "report.md").read_text(encoding="utf-8")


def test_a_scaling_of_servers_that_share_a_gpu(backend: Node) -> None:
    scenario = {
        "name": "scaling",
        "engines": ["fp16"],
        "deployments": {"base": SERVED | {"cpu": {"inference_threads": 1}}},
        "scaling": {"instances": [1, 2], "inference_threads": [1, 2], "servers": [1, 2]},
        "workload": WORKLOAD,
        "load": [{"concurrency": 2, "requests": 20}],
    }
    run = backend.run(scenario)
    assert [deployment.name for deployment in run.deployments()] == ["servers-1-fp16", "servers-2-fp16"]
    (curve,) = summarise(run).found[SCALINGS]
    assert [(point.units, point.complete, len(point.requests)) for point in curve.points] == [(1, True, 0), (2, True, 2)]
    records = run.deployments()[1].requests()
    assert_conserved(records, {("c2-a-unit", False): 40})
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "inference_threads: provider tensorrt_llm cannot vary it: it computes on GPUs" in report
