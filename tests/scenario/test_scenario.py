from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trtbench.errors import UserError
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.bounds import MOST_SECONDS
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.workload import Workload
from trtbench.system import packaged_data

SHIPPED = sorted(packaged_data.SCENARIOS.glob("*.yaml"))
MINIMAL: dict[str, Any] = {"name": "mini", "load": [{"concurrency": 1, "requests": 1}]}


def with_key(path: str, value: Any) -> dict[str, Any]:
    """MINIMAL with one key set, the places on the way made."""
    tree = json.loads(json.dumps(MINIMAL))
    node = tree
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        node = node[part] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    return tree


def message(tree: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_scenario(tree, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_loads_and_is_what_it_is_called(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.purpose
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith("# ")  # what it is for, in words


def test_those_that_must_ship() -> None:
    assert {path.stem for path in SHIPPED} >= {"quickstart", "baseline", "load", "stress", "endurance", "streaming"}


def test_the_schema_accepts_every_shipped_scenario() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(Scenario.model_json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in SHIPPED:
        jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_schema_documents_every_key_that_is_not_plain() -> None:
    schema = Scenario.model_json_schema()
    assert schema["additionalProperties"] is False
    assert {"name"} == set(schema["required"])  # and load or context_limit
    stage = schema["$defs"]["Stage"]["properties"]
    assert all("description" in entry for entry in stage.values())


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
levels = st.one_of(
    st.builds(lambda users: {"mode": "concurrency", "concurrency": users}, st.integers(1, 5000)),
    st.builds(lambda mode, rate: {"mode": mode, "rate": rate}, st.sampled_from(["constant", "poisson"]), st.floats(0.01, 1e4)),
    st.builds(lambda rate, shape: {"mode": "gamma", "rate": rate, "burstiness": shape}, st.floats(0.01, 1e4), st.floats(0.01, 100)),
)
stages = st.builds(
    lambda level, requests, duration_s, warmup: level | {"requests": requests, "duration_s": duration_s, "warmup_requests": warmup},
    levels,
    st.integers(1, 10**6),
    st.none() | st.floats(0.1, 1e6),
    st.integers(0, 100),
).filter(lambda stage: (stage["requests"] + stage["warmup_requests"]) / stage.get("rate", 1) <= MOST_SECONDS)
ranges = st.builds(lambda low, more: Range(min=low, max=low + more), st.integers(1, 1000), st.integers(0, 1000))
batchings = st.none() | st.builds(
    DynamicBatching,
    preferred_batch_sizes=st.lists(st.integers(1, 8), max_size=3).map(tuple),
    max_queue_delay_us=st.integers(0, 10**9),
    queue_policy=st.builds(QueuePolicy, max_queue_size=st.integers(0, 10**6), timeout_action=st.sampled_from(["reject", "delay"])),
)
scenarios = st.builds(
    Scenario,
    name=names,
    purpose=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40),
    engines=st.sampled_from([("fp16",), ("int8",), ("fp16", "int8")]),
    deployments=st.dictionaries(
        names,
        st.builds(Deployment, dynamic_batching=batchings, kv_cache=st.builds(KvCache, blocks=st.none() | st.integers(1, 10**6))),
        min_size=1,
        max_size=3,
    ),
    workload=st.builds(Workload, input_tokens=ranges, output_tokens=ranges, ignore_eos=st.booleans(), streaming=st.booleans()),
    load=st.lists(stages, min_size=1, max_size=3, unique_by=lambda stage: Stage(**stage).label).map(tuple),
)


@given(scenarios)
def test_a_dumped_scenario_loads_to_itself(scenario: Scenario) -> None:
    assert parse_scenario(yaml.safe_load(scenario.dump()), "dump") == scenario


def test_a_key_of_another_form_is_not_called_unknown() -> None:
    text = message(with_key("workload.input_tokens", {"mean": 9, "sigma": 1, "max": 20}))
    assert "workload.input_tokens.sigma = 1: conflicts with the other keys of this mapping" in text


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("nmae", "x", "nmae = 'x': is not a known key; did you mean name"),
        ("load.0.concurency", 4, "is not a known key; did you mean concurrency?"),
        ("name", "a/b", "must be 1 to 64 letters, digits"),
        ("name", "../up", "must be 1 to 64 letters, digits"),
        ("engines", ["fp32"], "'fp16', 'bf16', 'int8', 'int8-sq' or 'fp8'"),
        ("engines", [], "at least 1 item"),
        ("engines", ["fp16", "fp16"], "is listed twice"),
        ("load", [], "has no stage; give at least one"),
        ("load.0.requests", 0, "must be a"),
        ("load.0.duration_s", 0, "must be a"),
        ("slo.latency_ms", 5, "is not a known key; did you mean e2e_latency_ms"),
        ("slo.ttft_ms", 0, "must be a"),
        ("stop.error_ratio", 2, "must be a"),
        ("telemetry.interval_ms", 1, "must be a"),
        ("workload.input_tokens", {"min": 0, "max": 5}, "must be a"),
        ("workload.input_tokens", {"min": 5, "max": 2}, "max (2) is below min (5)"),
        ("workload.languages", [], "at least 1 item"),
        ("workload.sampling.top_p", 0, "must be a"),
        ("name", None, "name = null: must be text"),
        ("name", 5, "name = 5: must be text; write a number in quotes"),
        ("engines", 5, "engines = 5: must be a list, as [a, b]"),
        ("workload.streaming", "sometimes", "must be true or false"),
        ("slo.zzz", 5, "is not a known key; known keys are e2e_latency_ms, "),
        ("deployments", {}, "at least 1 item"),
        ("deployments", {"a": {}, "a-fp16": {}}, "the run directory of a with engine fp16 is a-fp16, and another deployment has that name"),
        *(("deployments", {name: {}}, "has a file or directory of this name") for name in ("plots", "deployment.json", "set-aside")),
        ("deployments", {"requests-0.jsonl": {}}, "has a file or directory of this name"),
        ("deployments.d.max_batch_size", 0, "must be a"),
        ("deployments.d.kv_cache", {"blocks": 4, "bytes": 4}, "blocks or bytes, not both"),
        ("deployments.d.dynamic_batching", {"priority_levels": 2}, "set both, or neither"),
        ("deployments.d.dynamic_batching", {"priority_levels": 2, "default_priority_level": 3}, "must lie in 1..priority_levels"),
        (
            "deployments.d.dynamic_batching",
            {"preserve_ordering": True, "priority_levels": 2, "default_priority_level": 1},
            "one priority level only",
        ),
        ("deployments.d.dynamic_batching", {"preferred_batch_sizes": [4, 16]}, "go over max_batch_size (8)"),
    ],
)
def test_what_cannot_be_run_is_named_by_its_key(key: str, value: Any, says: str) -> None:
    text = message(with_key(key, value))
    assert text.startswith("x.yaml: ")
    assert says in text
    owner = key.rpartition(".")[0] or key  # a rule over several keys is the part's, not one key's
    assert key in text or owner in text or key.split(".")[0] in text
    assert "\n" not in text


def test_every_fault_gets_its_line() -> None:
    tree = with_key("load.0.concurrency", 0) | {"engines": ["fp32"], "extra": 1}
    assert [line.split(":")[1].split()[0] for line in message(tree).splitlines()] == ["engines.0", "load.0.concurrency", "extra"]


def test_two_stages_of_one_name() -> None:
    assert "load: c1 is listed twice" in message(MINIMAL | {"load": MINIMAL["load"] * 2})
    named = [MINIMAL["load"][0], MINIMAL["load"][0] | {"name": "again"}]
    assert [stage.label for stage in parse_scenario(MINIMAL | {"load": named}, "x").load] == ["c1", "again"]


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    path = tmp_path / "mini.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def test_overrides(mini: Path) -> None:
    overrides = [
        "load.0.requests=20",
        "engines=[int8]",
        "deployments.tight.kv_cache.blocks=12",
        "workload.input_tokens={min: 4, max: 8}",
        "slo.ttft_ms=1e3",
        "purpose=a = b",
    ]
    scenario = load_scenario(mini, overrides)
    assert scenario.load[0].requests == 20
    assert scenario.engines == ("int8",)
    assert scenario.deployments["tight"].kv_cache.blocks == 12
    assert scenario.workload.input_tokens == Range(min=4, max=8)
    assert scenario.slo.ttft_ms == 1000
    assert scenario.purpose == "a = b"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("load.0.requests", "write key.path=value"),
        ("=5", "write key.path=value"),
        ("a..b=5", "write key.path=value"),
        ("load.7.requests=5", "7 is not a position in a list of 1"),
        ("load.x=5", "x is not a position in a list of 1"),
        ("name.first=5", "name is 'mini', it has no keys"),
        ("purpose=[", "--set purpose=[: not YAML"),
        ("lod.0.requests=5", "lod"),
        ("load.0.requests=zero", "load.0.requests = 'zero'"),
    ],
)
def test_bad_overrides_name_what_is_wrong(mini: Path, override: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load_scenario(mini, [override])
    assert says in str(caught.value)


def test_files_that_are_no_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml: cannot be read \(No such file or directory\); `trtbench scenarios`"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path)
    for content, says in ((b"- a\n", "is a mapping"), (b"", "is empty"), (b"a: [", "not YAML"), (b"\xff\xfe", "not UTF-8")):
        (tmp_path / "bad.yaml").write_bytes(content)
        with pytest.raises(ScenarioError, match=says):
            load_scenario(tmp_path / "bad.yaml")


def test_a_scenario_cannot_be_changed() -> None:
    scenario = parse_scenario(MINIMAL, "x")
    with pytest.raises(ValueError, match="frozen"):
        scenario.workload.ignore_eos = False  # type: ignore[misc]
