from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trtbench.cli import commands, main
from trtbench.cli.flags.bench_scenario import bench_scenario, goodput_limits
from trtbench.cli.flags.explained import BENCH_FLAGS, named_by_flags
from trtbench.cli.flags.values import check_can_write, check_files
from trtbench.client.openai.http_questions import http_address
from trtbench.client.transport.address import grpc_address
from trtbench.errors import UserError
from trtbench.run.resolve.resolved_endpoint import check_engine_positions, resolve_endpoint
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.scenario.load.measurement import Slo
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Normal, Range
from trtbench.scenario.workload.request_kind import Dataset, Prefix


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """The flags as `trtbench bench` hands them on."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "bench_command", lambda **flags: seen.append(flags) or 0)
    url = () if "--url" in arguments else ("--url", "127.0.0.1:8001")
    result = CliRunner().invoke(main.main, ["bench", *url, "--model", "tensorrt_llm", *arguments])
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
    made = scenario("--transport", "wire", "--workers", "3", "--streams-per-connection", "8", "--retries", "2").client
    assert made == ClientSettings(workers=3, streams_per_connection=8, retries=2)
    with pytest.raises(UserError, match=r"^--transport grpc: wire is the only transport, .*: leave it out"):
        scenario("--transport", "grpc")


def test_tls_by_a_flag_a_file_or_the_url(scenario: Any) -> None:
    assert scenario("--tls").client.tls == Tls()
    for url, tls in (("grpcs://there:8001", Tls()), ("https://there", Tls()), ("grpc://there:8001", None), ("there:8001", None)):
        made = scenario("--url", url)
        assert (made.client.tls, made.endpoint.connection(made.client).tls) == (None, tls)
    made = scenario("--tls-ca", "ca.pem", "--tls-cert", "me.pem", "--tls-key", "me.key", "--tls-server-name", "triton")
    assert made.client.tls == Tls(ca=Path("ca.pem"), certificate=Path("me.pem"), key=Path("me.key"), server_name="triton")


def test_the_address_in_a_url() -> None:
    assert [grpc_address(url) for url in ("h:1", "grpc://h:1", "grpcs://h:1/")] == ["h:1"] * 3
    with pytest.raises(UserError, match="--url http://h:8000: http is not gRPC; give HOST:PORT"):
        grpc_address("http://h:8000")
    urls = ("h:1", "http://h:1/v1/", "https://h/a/v1", "http://[::1]:2/x")
    assert [http_address(url) for url in urls] == ["http://h:1", "http://h:1", "https://h:443/a", "http://[::1]:2/x"]


def test_levels_that_are_given_twice_are_measured_twice(scenario: Any) -> None:
    assert [stage.label for stage in scenario("--concurrency", "4,8,4,4").load] == ["c4", "c8", "c4-2", "c4-3"]
    assert [stage.label for stage in scenario("--request-rate", "2.5,2.5").load] == ["poisson-2.5", "poisson-2.5-2"]


def test_rates_in_levels(scenario: Any) -> None:
    made = scenario("--request-rate", "2,4.5", "--request-count", "9").load
    assert made == (Stage(mode="poisson", rate=2, requests=9), Stage(mode="poisson", rate=4.5, requests=9))
    (one, _) = scenario("--request-rate", "2,4", "--request-rate-ramp-duration", "3", "--benchmark-duration", "9").load
    assert one == stage(mode="poisson", rate={"from": 0, "to": 2, "over_s": 3}, duration_s=9)


def test_a_rate_with_a_bound_on_what_is_in_flight(scenario: Any) -> None:
    """As vLLM and aiperf do it."""
    made = scenario("--request-rate", "2,4", "--max-concurrency", "8", "--request-count", "9").load
    assert made == tuple(Stage(mode="poisson", rate=rate, max_in_flight=8, requests=9) for rate in (2, 4))
    assert [stage.label for stage in made] == ["poisson-2-max8", "poisson-4-max8"]
    (ramp,) = scenario("--ramp-up-start-rps", "1", "--ramp-up-end-rps", "3", "--concurrency", "4").load
    assert ramp.max_in_flight == 4


def test_all_at_once(scenario: Any) -> None:
    """vLLM's --request-rate inf: as many as may be in flight, the next as soon as one is done."""
    assert scenario("--request-rate", "inf", "--request-count", "50").load == (Stage(concurrency=50, requests=50),)
    capped = scenario("--request-rate", "inf", "--request-count", "50", "--max-concurrency", "8").load
    assert capped == (Stage(concurrency=8, requests=50),)
    assert scenario("--request-rate", "INF", "--max-concurrency", "8").load == (Stage(concurrency=8, duration_s=30),)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--osl", "3000000000"), "--osl 3000000000: must be a whole number from 1 to 10,000,000"),
        (("--isl", "3000000000"), "--isl 3000000000: must be a whole number from 1 to 10,000,000"),
        (("--isl", "1:3000000000"), "--isl 3000000000: must be a whole number from 1 to 10,000,000"),
        (("--concurrency", "1000000000"), "--concurrency 1000000000: must be a whole number from 1 to 100,000"),
        (
            ("--request-rate", "2", "--max-concurrency", "1000000000"),
            "--max-concurrency 1000000000: must be a whole number from 1 to 100,000",
        ),
        (("--request-rate", "1e9"), "--request-rate 1e+09: must be a number from 0.0001 to 1,000,000"),
        (("--request-count", "1000000000000"), "--request-count 1000000000000: must be a whole number from 1 to 100,000,000"),
        (("--warmup-request-count", "1000000000000"), "--warmup-request-count 1000000000000: must be a whole number from 0 to 100,000,000"),
        (("--benchmark-duration", "1e9"), "--benchmark-duration 1e+09: must be a number from 0.001 to 2,592,000"),
        (("--request-timeout", "1e300"), "--request-timeout 1e+300: must be a number from 0.001 to 2,592,000"),
        (("--workers", "1000000"), "--workers 1000000: must be a whole number from 1 to 64"),
        (("--retries", "-1"), "--retries -1: must be a whole number from 0 to 10"),
        (("--goodput", "ttft:99999999999999"), "--goodput ttft 1e+14: must be a number from 0.001 to"),
        (
            ("--num-prefix-prompts", "99999999", "--prefix-prompt-length", "8"),
            "--num-prefix-prompts 99999999: must be a whole number from 1",
        ),
        (("--request-rate", "2", "--burstiness", "1e300"), "--burstiness 1e+300: must be a number from"),
    ],
)
def test_a_number_beyond_its_bound_is_refused_by_the_name_of_its_flag(scenario: Any, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        scenario(*arguments)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_seconds_are_read_with_units(scenario: Any) -> None:
    asked = scenario("--benchmark-duration", "1m30s", "--request-timeout", "500ms")
    assert (asked.load[0].duration_s, asked.stop.timeout_s) == (90, 0.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--eos-id", "3000000000"), "3000000000 is above 2147483647, the upper bound"),
        (("--eos-id", "-2"), "-2 is below -1, the lower bound"),
        (("--vocab-size", "1"), "1 is below 2, the lower bound"),
        (("--isl-stddev", "1e300"), "1e300 is above 2147483647, the upper bound"),
        (("--workers", "1e3"), "'1e3' is not a whole number"),
        (("--arrival-pattern", "sine"), "'sine' is not one of 'constant'"),
        (("--benchmark-duration", "nan"), "'nan' is not a finite number"),
        (("--random-seed", "9" * 5000), "is not a whole number of at most 18 digits"),
    ],
)
def test_a_number_that_is_no_key_of_a_scenario_has_its_bounds_at_the_flag(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(main.main, ["bench", "--url", "127.0.0.1:8001", "--model", "m", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"trtbench: {arguments[0]}: ") and result.stderr.count("\n") == 1
    assert says in result.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("ttft:500 tpot:50",), {"ttft_ms": 500, "tpot_ms": 50}),
        (("ttft:500", "tpot:50"), {"ttft_ms": 500, "tpot_ms": 50}),
        (("ttft=500,tpot=50",), {"ttft_ms": 500, "tpot_ms": 50}),
        (("TTFT:500",), {"ttft_ms": 500}),
        (("ttft:0.5s",), {"ttft_ms": 500}),
        (("ttft:.5s itl:900us",), {"ttft_ms": 500, "itl_ms": 0.9}),
        (("ttft:500ms",), {"ttft_ms": 500}),
        (("ttft : 500  tpot: 50",), {"ttft_ms": 500, "tpot_ms": 50}),
        (("time_to_first_token:500 inter-token-latency:20",), {"ttft_ms": 500, "itl_ms": 20}),
        (("request_latency:900 time_per_output_token:50",), {"e2e_latency_ms": 900, "tpot_ms": 50}),
        (("e2el:900",), {"e2e_latency_ms": 900}),
        (("ttft_ms:500 e2e_latency_ms:900",), {"ttft_ms": 500, "e2e_latency_ms": 900}),
    ],
)
def test_limits_as_tools_write_them(given: tuple[str, ...], found: dict[str, float]) -> None:
    assert goodput_limits(given) == pytest.approx(found)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("",), "--goodput '': has no limit; write NAME:MILLISECONDS, as ttft:500"),
        (("  ",), "has no limit"),
        (("ttft:500 ttft:300",), "--goodput: duplicate limit on ttft, 500 and 300 ms; give one"),
        (("ttft:500", "time_to_first_token:300"), "duplicate limit on time_to_first_token"),
        (("ttft:nan",), "--goodput ttft:nan: write NAME:MILLISECONDS"),
        (("ttft:inf",), "write NAME:MILLISECONDS"),
        (("ttft:-5",), "write NAME:MILLISECONDS"),
        (("ttft:1e3",), "write NAME:MILLISECONDS"),
        (("ttft:\u0661",), "write NAME:MILLISECONDS"),
        (("ttft:5h",), "write NAME:MILLISECONDS"),
        (("ttft:5:6",), "write NAME:MILLISECONDS"),
        (("output_token_throughput_per_user:600",), "throughput is not a latency: a limit of N tokens/s is tpot:1000/N"),
        (("x" * 10_000 + ":5",), "give one of ttft,"),
    ],
)
def test_what_is_no_limit_is_refused(given: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        goodput_limits(given)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


def test_requests_over_the_positions_of_the_engine_are_refused(scenario: Any) -> None:
    check_engine_positions(scenario("--isl", "4000", "--osl", "96"), 4096)
    check_engine_positions(scenario("--input-file", "chats.json"), 128)
    check_engine_positions(scenario("--input-file", "t.jsonl", "--fixed-schedule"), 128)
    said = "--isl 4000 and --osl 97 make requests of 4097 tokens, the engine of --engine-dir has 4096 positions"
    with pytest.raises(UserError, match=said), named_by_flags(BENCH_FLAGS):
        check_engine_positions(scenario("--isl", "1:4000", "--osl", "97"), 4096)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--request-rate", "1e6", "--benchmark-duration", "100000"), "--request-rate x --benchmark-duration = "),
        (("--concurrency", "8", "--request-count", "100000000", "--isl", "10000000"), "--request-count = 100,000,000: the plan would have"),
        (("--concurrency", "8", "--request-count", "100000000", "--isl", "10000000"), "lower it, or ask for shorter prompts (--isl"),
    ],
)
def test_a_plan_that_is_too_large_is_refused_by_the_names_of_the_flags(scenario: Any, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught, named_by_flags(BENCH_FLAGS):
        resolve_endpoint(scenario(*arguments))
    assert says in str(caught.value)


def test_an_input_file_that_is_none_is_said_before_the_server_is_asked(scenario: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.txt"):
        resolve_endpoint(scenario("--input-file", str(tmp_path / "notes.txt")))


def test_a_directory_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may write anywhere."""
    monkeypatch.setattr("os.access", lambda *_: False)
    given = dict.fromkeys(("input_file", "tls_ca", "tls_cert", "tls_key", "tokenizer"))
    with pytest.raises(UserError, match=r"--artifact-dir .*runs cannot be written to .no permission for "):
        check_files(given | {"artifact_dir": tmp_path / "runs"})


def test_a_version_is_a_number(scenario: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [scenario("--model-version", text).endpoint.model_version for text in ("3", "9" * 18)]
    assert found == [3, 10**18 - 1]
    for text in ("latest", "0", "-1", "9" * 19, "1.0"):
        result = CliRunner().invoke(main.main, ["bench", "--url", "h:1", "--model", "m", "--model-version", text])
        assert result.exit_code == 2 and "--model-version" in result.output


def test_files_are_looked_at_before_a_server_is_asked(tmp_path: Path) -> None:
    given = dict.fromkeys(("input_file", "tls_ca", "tls_cert", "tls_key", "tokenizer"))
    check_files(given | {"artifact_dir": tmp_path / "new" / "runs"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for name, path, says in (
        ("input_file", "none.jsonl", "--input-file .*none.jsonl: cannot be read .No such file or directory."),
        ("input_file", ".", "--input-file .*: is a directory; give a file"),
        ("tls_ca", "none.pem", "--tls-ca .*none.pem: cannot be read"),
        ("tokenizer", "gpt2", "--tokenizer .*gpt2: is not a directory; give one with tokenizer.json"),
        ("tokenizer", ".", "--tokenizer .*: tokenizer.json: no such file"),
        ("artifact_dir", "file/runs", "--artifact-dir .*runs cannot be written to .*file is not a directory"),
    ):
        with pytest.raises(UserError, match=says):
            check_files(given | {"artifact_dir": tmp_path} | {name: tmp_path / path})


def test_a_file_to_write_is_looked_at_before(tmp_path: Path) -> None:
    check_can_write("--json", tmp_path / "new.json")
    for path, says in ((tmp_path, "is a directory"), (tmp_path / "none" / "x.json", "there is no directory")):
        with pytest.raises(UserError, match=f"--json .*{says}"):
            check_can_write("--json", path)
    assert list(tmp_path.iterdir()) == []


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
        (("--request-rate", "2", "--concurrency", "4,8"), "--max-concurrency 4,8: with --request-rate it is the most requests in flight"),
        (("--request-rate", "2", "--max-concurrency", "0"), "--max-concurrency 0: "),
        (
            ("--fixed-schedule", "--input-file", "t", "--concurrency", "4"),
            "--fixed-schedule: conflicts with --concurrency; give one of them",
        ),
        (("--request-rate", "inf"), "--request-rate inf sends all requests at once: give --request-count, or --max-concurrency"),
        (("--request-rate", "inf", "--request-count", "4", "--arrival-pattern", "gamma"), "leave out --arrival-pattern"),
        (("--request-rate", "0"), "--request-rate 0: give a rate above 0"),
        (("--request-rate", "nan"), "--request-rate nan: not a number"),
        (("--request-rate", "1e999"), "--request-rate 1e999: not a number"),
        (("--request-rate", "true"), "--request-rate true: not a number"),
        (("--concurrency", ",".join(["1"] * 65)), "65 levels, a stage each; at most 64 are possible"),
        (("--isl", "1e3"), "--isl 1e3: not a whole number"),
        (("--isl", "0x10"), "--isl 0x10: not a whole number"),
        (("--isl", "9" * 5000), "not a whole number"),
        (("--isl", "\u0661\u0662"), "not a whole number"),
        (("--goodput", ""), "--goodput '': has no limit"),
        (("--request-rate", "-1"), "--request-rate -1: give a rate above 0"),
        (("--request-rate", "1", "--burstiness", "0"), "--burstiness 0: give a number above 0"),
        (("--request-rate", "2", "--ramp-up-start-rps", "1", "--ramp-up-end-rps", "3"), "give a steady rate or a ramp"),
        (("--ramp-up-start-rps", "1"), "--ramp-up-start-rps and --ramp-up-end-rps go together"),
        (("--ramp-up-start-rps", "3", "--ramp-up-end-rps", "3"), "--ramp-up-start-rps and --ramp-up-end-rps are both 3: give two rates"),
        (("--request-rate-ramp-duration", "3"), "--request-rate-ramp-duration 3: give the --request-rate that it reaches"),
        (("--request-rate", "3", "--request-rate-ramp-duration", "3", "--request-count", "5"), "a ramp needs --benchmark-duration"),
        (("--concurrency", "4", "--concurrency-ramp-duration", "3", "--request-count", "5"), "a ramp needs --benchmark-duration"),
        (
            ("--request-rate", "3", "--request-rate-ramp-duration", "60"),
            "--request-rate-ramp-duration 60 is longer than --benchmark-duration 30: lower it",
        ),
        (("--request-rate", "3", "--arrival-pattern", "poisson", "--burstiness", "2"), "--arrival-pattern poisson has none"),
        (("--fixed-schedule",), "give it as --input-file"),
        (("--fixed-schedule", "--input-file", "t", "--request-rate", "2"), "--fixed-schedule: conflicts with --request-rate"),
        (("--fixed-schedule", "--input-file", "t", "--speedup-ratio", "0"), "--speedup-ratio 0: "),
        (("--url", "grpc://there:8001", "--tls"), "--url: grpc://there:8001 is not encrypted, --tls is for grpcs://"),
        (("--tls-cert", "me.pem"), "--tls: certificate and key go together"),
        (("--workers", "65"), "--workers 65: "),
        (("--concurrency", "1:8:2"), "not a list of numbers; write 1,2,4, or START:END:STEP with --concurrency-range"),
        (("--request-rate", "1:8"), "or START:END:STEP with --request-rate-range"),
        (("--concurrency", "four"), "--concurrency four: not a whole number"),
        (("--concurrency", "1,,4"), "--concurrency 1,,4: an empty part is not a whole number"),
        (("--concurrency", "[1,2,4]"), "--concurrency [1,2,4]: [1 is not a whole number"),
        (("--request-rate", "1,2,,3"), "--request-rate 1,2,,3: an empty part is not a number"),
        (("--isl", "128:"), "--isl 128:: an empty part is not a whole number"),
        (("--concurrency", "0"), "--concurrency 0: "),
        (("--isl", "12x"), "--isl 12x: not a whole number"),
        (
            ("--isl", "2000", "--input-file", "d.json"),
            "--isl 2000 conflicts with --input-file d.json: its prompts have their own lengths; leave",
        ),
        (("--isl-stddev", "5", "--input-file", "t", "--fixed-schedule"), "a trace has its own lengths; leave --isl out"),
        (("--isl", "9:5"), "max (5) is below min (9)"),
        (("--osl", "0"), "--osl 0: "),
        (("--isl", "8:9", "--isl-stddev", "1"), "--isl-stddev 1 goes with a mean, --isl is 8:9"),
        (("--num-prefix-prompts", "3"), "--num-prefix-prompts 3 and --prefix-prompt-length 0 go together"),
        (("--goodput", "latency:5"), "--goodput latency:5: unknown latency latency; give one of ttft,"),
        (("--goodput", "ttft"), "write NAME:MILLISECONDS"),
        (("--goodput", "ttft:fast"), "write NAME:MILLISECONDS"),
        (("--goodput", "ttft:0"), "--goodput ttft 0: "),
        (("--benchmark-duration", "0"), "--benchmark-duration 0: "),
        (("--request-timeout", "0"), "--request-timeout 0: "),
    ],
)
def test_flags_that_make_no_load_are_named(scenario: Any, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError) as caught:
        scenario(*arguments)
    assert says in str(caught.value)
