from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trtbench import cli, commands
from trtbench.errors import UserError
from trtbench.flags import bench_address, bench_scenario
from trtbench.scenario import ClientSettings, Dataset, Normal, Prefix, Range, Scenario, Slo, Stage, Tls


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


def stage(**keys: Any) -> Stage:
    return Stage.model_validate(keys)


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


def test_arrival_patterns_by_each_of_their_names(scenario: Any) -> None:
    rated = ("--request-rate", "2.5", "--request-count", "10")
    assert scenario(*rated, "--arrival-pattern", "constant").load == (Stage(mode="constant", rate=2.5, requests=10),)
    assert scenario(*rated, "--request-rate-mode", "poisson").load == (Stage(mode="poisson", rate=2.5, requests=10),)
    gamma = (Stage(mode="gamma", rate=2.5, burstiness=4, requests=10),)
    assert scenario(*rated, "--arrival-pattern", "gamma", "--arrival-smoothness", "4").load == gamma
    assert scenario(*rated, "--burstiness", "4").load == gamma


def test_ramps(scenario: Any) -> None:
    (risen,) = scenario("--request-rate", "20", "--request-rate-ramp-duration", "10", "--benchmark-duration", "60").load
    assert risen == stage(mode="poisson", rate={"from": 0, "to": 20, "over_s": 10}, duration_s=60)
    (rising,) = scenario("--ramp-up-start-rps", "5", "--ramp-up-end-rps", "50", "--arrival-pattern", "constant").load
    assert rising == stage(mode="constant", rate={"from": 5, "to": 50}, duration_s=30)
    one, many = scenario("--concurrency", "1,100", "--concurrency-ramp-duration", "10").load
    assert one == Stage(concurrency=1, duration_s=30)
    assert many == stage(concurrency={"from": 1, "to": 100, "over_s": 10}, duration_s=30)


def test_a_trace(scenario: Any) -> None:
    made = scenario("--input-file", "t.jsonl", "--fixed-schedule", "--speedup-ratio", "2", "--request-count", "9")
    assert made.load == (stage(mode="trace", trace="t.jsonl", speed=2, requests=9),)
    assert made.workload.dataset is None
    assert scenario("--input-file", "t.jsonl", "--fixed-schedule").load[0].duration_s is None


def test_lengths_of_a_normal_law(scenario: Any) -> None:
    made = scenario("--isl", "200", "--isl-stddev", "25.5", "--osl", "50", "--osl-stddev", "5").workload
    assert (made.input_tokens, made.output_tokens) == (Normal(mean=200, stddev=25.5, max=302), Normal(mean=50, stddev=5, max=70))
    names = ("--synthetic-input-tokens-mean", "--synthetic-input-tokens-stddev", "--output-tokens-mean", "--output-tokens-stddev")
    assert scenario(*(part for pair in zip(names, ("200", "25.5", "50", "5"), strict=True) for part in pair)).workload == made


def test_prefixes_and_datasets(scenario: Any) -> None:
    assert scenario("--num-prefix-prompts", "3", "--prefix-prompt-length", "50").workload.prefix == Prefix(groups=3, tokens=50)
    assert scenario("--input-file", "chats.json").workload.dataset == Dataset(path=Path("chats.json"))


def test_the_client(scenario: Any) -> None:
    assert scenario().client == ClientSettings()
    made = scenario("--transport", "grpc", "--workers", "3", "--streams-per-connection", "8", "--retries", "2").client
    assert made == ClientSettings(transport="grpc", workers=3, streams_per_connection=8, retries=2)


def test_tls_by_a_flag_a_file_or_the_url(scenario: Any) -> None:
    assert scenario("--tls").client.tls == Tls()
    assert scenario("--url", "grpcs://there:8001").client.tls == Tls()
    assert scenario("--url", "grpc://there:8001").client.tls is None
    made = scenario("--tls-ca", "ca.pem", "--tls-cert", "me.pem", "--tls-key", "me.key", "--tls-server-name", "triton")
    assert made.client.tls == Tls(ca=Path("ca.pem"), certificate=Path("me.pem"), key=Path("me.key"), server_name="triton")


def test_the_address_in_a_url() -> None:
    assert [bench_address(url) for url in ("h:1", "grpc://h:1", "grpcs://h:1/")] == ["h:1"] * 3
    with pytest.raises(UserError, match="--url http://h:8000: http is not gRPC; give HOST:PORT"):
        bench_address("http://h:8000")


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
        (("--request-rate", "2", "--ramp-up-start-rps", "1", "--ramp-up-end-rps", "3"), "give a steady rate or a ramp"),
        (("--ramp-up-start-rps", "1"), "--ramp-up-start-rps and --ramp-up-end-rps go together"),
        (("--ramp-up-start-rps", "1", "--ramp-up-end-rps", "3", "--concurrency", "4"), "--ramp-up-end-rps and --concurrency are two"),
        (("--ramp-up-start-rps", "3", "--ramp-up-end-rps", "3"), "load.0.rate: from and to are both 3"),
        (("--request-rate-ramp-duration", "3"), "--request-rate-ramp-duration 3: give the --request-rate that it reaches"),
        (("--request-rate", "3", "--request-rate-ramp-duration", "3", "--request-count", "5"), "a ramp needs --benchmark-duration"),
        (("--concurrency", "4", "--concurrency-ramp-duration", "3", "--request-count", "5"), "a ramp needs --benchmark-duration"),
        (("--request-rate", "3", "--request-rate-ramp-duration", "60"), "rate.over_s (60) goes over duration_s (30)"),
        (("--request-rate", "3", "--arrival-pattern", "poisson", "--burstiness", "2"), "--arrival-pattern poisson has none"),
        (("--fixed-schedule",), "give it as --input-file"),
        (("--fixed-schedule", "--input-file", "t", "--request-rate", "2"), "--fixed-schedule and --request-rate are two kinds"),
        (("--fixed-schedule", "--input-file", "t", "--speedup-ratio", "0"), "load.0.speed = 0"),
        (("--url", "grpc://there:8001", "--tls"), "--url grpc://there:8001 is not encrypted"),
        (("--tls-cert", "me.pem"), "client.tls: certificate and key go together"),
        (("--workers", "65"), "client.workers = 65"),
        (("--concurrency", "four"), "--concurrency four: not a whole number"),
        (("--concurrency", "1,,4"), "--concurrency : not a whole number"),
        (("--concurrency", "0"), "load.0.concurrency = 0"),
        (("--concurrency", "4,4"), "c4 stands twice"),
        (("--isl", "12x"), "--isl 12x: not a whole number"),
        (("--isl", "9:5"), "max (5) is below min (9)"),
        (("--osl", "0"), "workload.output_tokens"),
        (("--isl", "8:9", "--isl-stddev", "1"), "--isl-stddev 1 goes with a mean, --isl is 8:9"),
        (("--num-prefix-prompts", "3"), "--num-prefix-prompts 3 and --prefix-prompt-length 0 go together"),
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
