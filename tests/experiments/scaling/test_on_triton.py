"""Scaling for real: more instances or threads in one server, and two Tritons behind a balancer or dealt by the client.

Every request is served once, each server's share is known, all have ended.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.command import ran
from tests.support.triton.started_run import MINI, StartRun, assert_conserved, outcomes, run_of
from trtbench.analysis.summary import summarise
from trtbench.errors import UserError
from trtbench.experiments.scaling.scaling_curve import SCALINGS
from trtbench.rundir.records import Outcome
from trtbench.serving.server.balancer import find_balancer

pytestmark = [pytest.mark.triton, pytest.mark.timeout(200, func_only=True)]

REQUESTS = 24
INSTANCES = re.compile(r"instance_group \[ \{ count: (\d+)")
THREADS = re.compile(r'key: "inference_threads"\s+value \{ string_value: "(\d+)"')
CONFIGURATIONS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
SCENARIO: dict[str, Any] = MINI | {
    "scaling": {"servers": [1, 2], "order": "interleaved"},
    "workload": {"input_tokens": 8, "output_tokens": 4},
    "load": [{"concurrency": 2, "requests": REQUESTS, "warmup_requests": 1}],
}


def balanced(balancer: str) -> dict[str, Any]:
    base = SCENARIO["deployments"]["default"] | {"replicas": {"balancer": balancer}}
    return SCENARIO | {"deployments": {"default": base}}


def test_one_server_with_more_instances_and_with_more_threads(start_run: StartRun) -> None:
    """Each axis starts at one and varies what its name says and nothing else."""
    command = start_run(SCENARIO | {"scaling": {"instances": [1, 2], "inference_threads": [1, 2], "order": "interleaved"}})
    assert ran(command.wait(150), command.directory), command.err
    run = run_of(command)
    served = {}
    for directory in run.deployments():
        text = (directory.path / "config.pbtxt").read_text()
        served[directory.name] = tuple(re.search(pattern, text)[1] for pattern in (INSTANCES, THREADS))  # type: ignore[index]
        units = int(directory.name.split("-")[1])
        assert_conserved(directory.requests(), {("c2-a-unit", False): units * REQUESTS, ("c2-a-unit", True): units})
        assert outcomes(directory.requests()) == Counter({Outcome.COMPLETED: units * (REQUESTS + 1)})
    assert served == {
        "instances-1-int8": ("1", "1"),
        "instances-2-int8": ("2", "1"),
        "threads-1-int8": ("1", "1"),
        "threads-2-int8": ("1", "2"),
    }
    curves = summarise(run).found[SCALINGS]
    assert [curve.axis for curve in curves] == ["instances", "inference_threads"]
    for curve in curves:
        one, two = curve.points
        assert [(point.units, point.asked, point.requests) for point in (one, two)] == [(1, 2, ()), (2, 4, ())]
        assert two.speedup is not None and two.efficiency is not None and curve.balancer is None
        assert two.efficiency.mean == pytest.approx(two.speedup.mean / 2)
    command.assert_nothing_left()


@pytest.mark.parametrize("balancer", CONFIGURATIONS)
def test_servers_behind_a_balancer_share_the_load(start_run: StartRun, balancer: str) -> None:
    try:
        find_balancer(balancer)
    except UserError as error:
        pytest.skip(str(error))
    command = start_run(balanced(balancer))
    assert ran(command.wait(150), command.directory), command.err
    run = run_of(command)
    for units, directory in enumerate(run.deployments(), 1):
        records = directory.requests()
        assert_conserved(records, {("c2-a-unit", False): units * REQUESTS, ("c2-a-unit", True): units})
        assert outcomes(records) == Counter({Outcome.COMPLETED: units * (REQUESTS + 1)})
        assert sorted(directory.path.glob("server*.log")) and (directory.path / CONFIGURATIONS[balancer]).exists()
    (curve,) = summarise(run).found[SCALINGS]
    one, two = curve.points
    assert [(point.units, point.repeats, point.asked) for point in (one, two)] == [(1, 1, 2), (2, 1, 4)]
    assert two.efficiency is not None and two.speedup is not None
    assert two.efficiency.mean == pytest.approx(two.speedup.mean / 2)
    assert (one.requests, sum(count or 0 for count in two.requests), curve.balancer) == ((), 2 * REQUESTS, balancer)
    assert min(count or 0 for count in two.requests) >= REQUESTS // 2
    assert two.usage.balancer_cpu_cores is not None and two.usage.server_cpu_cores is not None
    command.assert_nothing_left()


def test_one_of_two_servers_that_is_killed_ends_the_deployment(start_run: StartRun) -> None:
    long = balanced("client") | {"load": [{"concurrency": 2, "requests": 400}], "scaling": {"servers": [2, 3], "order": "interleaved"}}
    command = start_run(long | {"workload": {"input_tokens": 8, "output_tokens": 32}})
    command.wait_for(lambda: any(path.read_bytes().count(b"\n") >= 4 for path in command.directory.glob("runs/*/*/requests-0.jsonl")))
    first, second = sorted(command.children("tritonserver"), key=lambda process: process.create_time())
    second.kill()
    command.wait_for(lambda: any(event.kind == "server_lost" for event in run_of(command).events()))
    command.interrupt(signal.SIGTERM)
    assert command.wait(90) == 128 + signal.SIGTERM
    run = run_of(command)
    lost = next(event for event in run.events() if event.kind == "server_lost")
    assert lost.deployment == "servers-2-int8"
    assert str(lost.data["cause"]).startswith("Server 1 of 2: Ended by SIGKILL")
    assert not first.is_running()
    counts = outcomes(run.deployments()[0].requests())
    assert sum(counts.values()) == 800
    assert counts[Outcome.CONNECTION] >= 1
    command.assert_nothing_left()
