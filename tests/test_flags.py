from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from trtbench import cli, commands
from trtbench.errors import UserError
from trtbench.flags import bench_scenario
from trtbench.scenario import Range, Scenario, Slo, Stage


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """The flags as `trtbench bench` hands them on."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "bench_command", lambda **flags: seen.append(flags) or 0)
    result = CliRunner().invoke(cli.main, ["bench", "--url", "127.0.0.1:8001", "--model", "tensorrt_llm", *arguments])
    assert result.exit_code == 0, result.output
    return seen[0]


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*arguments: str) -> Scenario:
        return bench_scenario(parsed(monkeypatch, *arguments))

    return make


def test_defaults(scenario: Any) -> None:
    made = scenario()
    assert made.load == (Stage(concurrency=1, duration_s=30),)
    assert (made.workload.input_tokens, made.workload.output_tokens) == (Range(min=128, max=128), Range(min=32, max=32))
    assert made.workload.ignore_eos
    assert made.workload.streaming
    assert made.slo == Slo()
    assert made.model == "tensorrt_llm"


def test_users_in_levels(scenario: Any) -> None:
    made = scenario("--concurrency", "1,4,16", "--request-count", "20", "--warmup-request-count", "3")
    assert [stage.label for stage in made.load] == ["c1", "c4", "c16"]
    assert {(stage.requests, stage.duration_s, stage.warmup_requests) for stage in made.load} == {(20, None, 3)}


def test_vllms_names_are_the_same_flags(scenario: Any) -> None:
    ours = scenario("--concurrency", "8", "--request-count", "50")
    assert scenario("--max-concurrency", "8", "--num-prompts", "50") == ours


def test_rates(scenario: Any) -> None:
    assert scenario("--request-rate", "2.5", "--benchmark-duration", "10").load == (Stage(mode="poisson", rate=2.5, duration_s=10),)
    bursty = scenario("--request-rate", "2.5", "--burstiness", "0.5", "--request-count", "10").load
    assert bursty == (Stage(mode="gamma", rate=2.5, burstiness=0.5, requests=10),)


def test_lengths_seeds_limits_and_the_rest(scenario: Any) -> None:
    made = scenario(
        *("--isl", "64:256", "--osl", "16", "--random-seed", "7", "--eos-id", "2", "--request-timeout", "5", "--no-streaming"),
        *("--goodput", "ttft:500 tpot:50", "--goodput", "e2el:1000", "--goodput", "inter_token_latency:80"),
    )
    assert made.workload.input_tokens == Range(min=64, max=256)
    assert not made.workload.ignore_eos
    assert not made.workload.streaming
    assert set(made.seeds.model_dump().values()) == {7}
    assert made.stop.timeout_s == 5
    assert made.slo == Slo(ttft_ms=500, tpot_ms=50, e2e_latency_ms=1000, itl_ms=80)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--request-rate", "2", "--concurrency", "4"), "--request-rate and --concurrency are two kinds of load"),
        (("--request-rate", "0"), "--request-rate 0: give a rate above 0"),
        (("--request-rate", "-1"), "--request-rate -1: give a rate above 0"),
        (("--request-rate", "1", "--burstiness", "0"), "--burstiness 0: give a number above 0"),
        (("--concurrency", "four"), "--concurrency four: not a whole number"),
        (("--concurrency", "1,,4"), "--concurrency : not a whole number"),
        (("--concurrency", "0"), "load.0.concurrency = 0"),
        (("--concurrency", "4,4"), "c4 stands twice"),
        (("--isl", "12x"), "--isl 12x: not a whole number"),
        (("--isl", "9:5"), "max (5) is below min (9)"),
        (("--osl", "0"), "workload.output_tokens"),
        (("--goodput", "latency:5"), "--goodput latency:5: latency is none of ttft,"),
        (("--goodput", "ttft"), "write NAME:MILLISECONDS"),
        (("--goodput", "ttft:fast"), "write NAME:MILLISECONDS"),
        (("--goodput", "ttft:0"), "slo.ttft_ms = 0"),
        (("--benchmark-duration", "0"), "load.0.duration_s = 0"),
        (("--request-timeout", "0"), "stop.timeout_s = 0"),
    ],
)
def test_flags_that_make_no_load_are_named(scenario: Any, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        scenario(*arguments)
    assert says in str(caught.value)
