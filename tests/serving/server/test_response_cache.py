"""Triton's response cache: its flags, and a run on the real server whose hits are those that the plan allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import ran
from tests.support.triton.started_run import StartRun, assert_conserved, run_of
from trtbench.rundir.lines import read_json
from trtbench.scenario.deployment.deployment import LocalCache, RedisCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.launch import cache_flags

LOCAL = LocalCache(kind="local", size_mb=1)
REDIS = RedisCache(kind="redis", host="h", port=7)
MINI = {
    "name": "cache-mini",
    "task": "embed",
    "model": "minilm-l6-v2",
    "engines": ["int8"],
    "deployments": {
        "off": {"inference_threads": 1},
        "on": {"inference_threads": 1, "response_cache": {"kind": "local", "size_mb": 1}},
    },
    "workload": {"input_tokens": {"min": 8, "max": 16}, "languages": ["en"]},
    "load": [{"concurrency": 1, "requests": 40, "duplicate_ratio": ratio} for ratio in (0, 0.5)],
}


def installation_at(root: Path, *kinds: str) -> TritonInstallation:
    for kind in kinds:
        (root / "caches" / kind).mkdir(parents=True)
        (root / "caches" / kind / f"libtritoncache_{kind}.so").touch()
    return TritonInstallation("PATH", root / "bin" / "tritonserver", root / "backends")


def test_flags(tmp_path: Path) -> None:
    there = installation_at(tmp_path, "local", "redis")
    directory = f"--cache-directory={tmp_path / 'caches'}"
    assert cache_flags(None, there) == ()
    assert cache_flags(LOCAL, there) == (directory, "--cache-config=local,size=1000000")
    assert cache_flags(REDIS, there) == (directory, "--cache-config=redis,host=h", "--cache-config=redis,port=7")


def test_an_image_without_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no libtritoncache_redis.so .* it has local"):
        cache_flags(REDIS, installation_at(tmp_path, "local"))


@pytest.mark.triton
@pytest.mark.timeout(120, func_only=True)
def test_the_real_cache_answers_what_the_plan_allows(start_run: StartRun) -> None:
    command = start_run(MINI)
    assert ran(command.wait(90), command.directory), command.err
    run = run_of(command)
    for directory in run.deployments():
        assert_conserved(directory.requests(), {("c1-dup0", False): 40, ("c1-dup0.5", False): 40})
    off, on = read_json(run.path / "summary.json")["deployments"]
    assert not off["cached_stages"]
    fresh, repeated = on["cached_stages"]
    assert (fresh["hits"], fresh["misses"], fresh["repeats"]) == (0, 40, 0)
    assert repeated["hits"] == repeated["servable"] == repeated["repeats"] == 20  # one user: nothing is in flight with its twin
    assert on["stages"][1]["triton_batching"]["inferences"] == 20 and repeated["evictions"] == 0
