"""Every number of a scenario has a lower and an upper bound, found by walking the fields, and is refused beyond them by its key."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import pytest

from trtbench.scenario.parts.bounds import Between, finite
from trtbench.scenario.parts.part import Part, ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.system import packaged_data

MINIMAL: dict[str, Any] = {"name": "mini", "load": [{"concurrency": 1, "requests": 1}]}


class Number(NamedTuple):
    """One number of a scenario. `path`: keys and positions; `beside`: what else stands at each part on the way, so that it is one."""

    path: tuple[Any, ...]
    kind: type
    bounds: Between | None


def numbers(annotation: Any, metadata: tuple[Any, ...], path: tuple[Any, ...], seen: tuple[type, ...]) -> Iterator[Number]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        yield from numbers(inner, (*more, *metadata), path, seen)
    elif origin in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from numbers(branch, metadata, path, seen)
    elif origin is tuple:
        yield from numbers(get_args(annotation)[0], (), (*path, 0), seen)
    elif origin is dict:
        key, value = get_args(annotation)
        yield from numbers(value, (), (*path, 1 if (get_args(key) or (key,))[0] is int else "one"), seen)
    elif annotation in (int, float):
        yield Number(path, annotation, next((one for one in metadata if isinstance(one, Between)), None))
    elif isinstance(annotation, type) and issubclass(annotation, Part) and annotation not in seen:
        for name, field in annotation.model_fields.items():
            yield from numbers(field.annotation, tuple(field.metadata), (*path, field.alias or name), (*seen, annotation))


@cache
def every_number() -> tuple[Number, ...]:
    return tuple(dict.fromkeys(numbers(Scenario, (), (), ())))


def tree_with(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    tree: Any = json.loads(json.dumps(MINIMAL))
    node = tree
    for part, after in zip(path, (*path[1:], None), strict=True):
        child = value if after is None else [] if after == 0 else {}
        if isinstance(node, list):
            node[part:] = node[part:] or [child]
            node[part] = child if after is None else node[part]
        elif after is None or not isinstance(node.get(part), (dict, list)):
            node[part] = child
        node = node[part]
    for at in range(len(path)):  # a union's branch is chosen by its kind
        if path[at] == "response_cache":
            place = tree
            for part in path[: at + 1]:
                place = place[part]
            one = place[0] if isinstance(place, list) else place
            one["kind"] = "local" if path[-1] == "size_mb" else "redis"
    return dict(tree)


def refusal(path: tuple[Any, ...], value: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(tree_with(path, value), "x")
    return str(caught.value)


def test_numbers_are_found_everywhere() -> None:
    """The walk itself: it is worth nothing if it misses them."""
    found = {".".join(map(str, number.path)) for number in every_number()}
    assert len(found) > 150
    assert {"load.0.rate.from", "workload.mix.one.input_tokens.sigma", "gpu.devices.0", "seeds.order"} <= found
    assert {"deployments.one.tensorrt_llm.parameters.medusa_choices.0.0", "workload.priorities.1", "grid.base.instances"} <= found


@pytest.mark.parametrize("number", every_number(), ids=lambda number: ".".join(map(str, number.path)))
def test_every_number_has_both_bounds_and_names_them(number: Number) -> None:
    assert number.bounds, "an int or float without bounds: take a type of trtbench/scenario/parts/bounds.py"
    low, high = number.bounds.least, number.bounds.most
    assert math.isfinite(low) and math.isfinite(high) and low < high
    key = ".".join(map(str, number.path))
    for value in (True, math.nan, math.inf, -math.inf, low - 1, high * 2, 10**400, 1e300, "many"):
        lines = [line for line in refusal(number.path, value).splitlines() if line.startswith(f"x: {key}")]
        assert any(number.bounds.shown in line for line in lines), (value, lines)


def test_lengths_and_pauses_that_are_one_number_are_bounded_too() -> None:
    assert "x: workload.output_tokens = 3000000000: must be a whole number from 1 to 10,000,000" in refusal(
        ("workload", "output_tokens"), 3_000_000_000
    )
    assert "x: load.0.think_s = 1e+30: must be a number from 0 to 2,592,000" in refusal(("load", 0, "think_s"), 1e30)
    assert "write a number" in refusal(("workload", "output_tokens"), True)


@pytest.mark.parametrize(("key", "value"), [("seeds", True), ("slo", True), ("stop", 1), ("client", math.nan)])
def test_a_number_in_the_place_of_keys_is_refused(key: str, value: Any) -> None:
    assert f"x: {key} = {value}: must be a mapping of keys to values" in refusal((key,), value)


def test_the_schema_has_the_same_bounds() -> None:
    unbounded = []

    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            if node.get("type") in ("integer", "number") and not {"minimum", "maximum"} <= set(node):
                unbounded.append(where)
            for key, value in node.items():
                walk(value, f"{where}.{key}")
        for position, value in enumerate(node if isinstance(node, list) else ()):
            walk(value, f"{where}.{position}")

    walk(Scenario.model_json_schema(), "")
    assert unbounded == []
    assert Scenario.model_json_schema()["$defs"]["Prefix"]["properties"]["groups"]["maximum"] == 1_000_000


def test_a_fault_is_also_given_as_its_parts() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(tree_with(("load", 0, "requests"), 10**12) | {"slo": {"itl_ms": 0}}, "x")
    assert [(problem.key, problem.value) for problem in caught.value.problems] == [
        (("load", 0, "requests"), 10**12),
        (("slo", "itl_ms"), 0),
    ]


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ({"mode": "poisson", "rate": 0.0001, "requests": 100_000_000}, "days; the upper bound is 30 days"),
        ({"mode": "burst", "rate": 1, "on_s": 0.001, "off_s": 2e6, "requests": 5}, "days; the upper bound is 30 days"),
        ({"mode": "constant", "rate": 1, "duration_s": 1, "warmup_requests": 100_000_000}, "days; the upper bound is 30 days"),
    ],
)
def test_a_stage_ends_within_thirty_days(load: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(MINIMAL | {"load": [load]}, "x")
    assert says in str(caught.value)


def test_multiplied_loads_and_grids_are_bounded() -> None:
    with pytest.raises(ScenarioError, match=r"load\.0\.concurrency of c60000-a-unit is multiplied by 2 .* from 1 to 100,000"):
        parse_scenario(
            MINIMAL | {"scaling": {"instances": [1, 2]}, "load": [{"concurrency": 60_000, "requests": 1}]},
            "x",
        )
    axes = {"max_batch_size": list(range(1, 200)), "max_queue_delay_us": list(range(200))}
    with pytest.raises(ScenarioError, match="makes 39,800 deployments, the upper bound is 1,000"):
        parse_scenario(MINIMAL | {"grid": axes}, "x")


@pytest.mark.parametrize("path", sorted(packaged_data.SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_stay_within_and_load_again(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    (tmp_path / "scenario.yaml").write_text(scenario.dump(), encoding="utf-8")
    assert load_scenario(tmp_path / "scenario.yaml") == scenario


def test_a_day_of_endurance_and_two_thousand_users_are_allowed() -> None:
    day = {"mode": "poisson", "rate": 12.0, "duration_s": 86_400}
    users = {"concurrency": {"from": 1, "to": 2000, "steps": 20}, "duration_s": 3600}
    assert len(parse_scenario(MINIMAL | {"load": [day, users]}, "x").load) == 2


def test_free_form_options_hold_finite_numbers() -> None:
    finite({"a": [1, 2.5, "x"]})
    with pytest.raises(ValueError, match=r"a\.0 = nan: must be a finite number"):
        finite({"a": [math.nan]})
