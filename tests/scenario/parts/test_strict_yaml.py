from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trtbench.errors import UserError
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.parts.strict_yaml import MOST_BYTES, MOST_EXPANDED, parse_yaml
from trtbench.scenario.reading import apply_override, load_scenario


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1_000\nb: 1e3\nc: -.5\nd: 2.\ne: -1.0e+20\nf: +7", {"a": 1000, "b": 1000.0, "c": -0.5, "d": 2.0, "e": -1e20, "f": 7}),
        ("a: yes\nb: Off\nc: TRUE\nd: nO", {"a": True, "b": False, "c": True, "d": "nO"}),
        ("a:\nb: ~\nc: Null", {"a": None, "b": None, "c": None}),
        ("a: 2024-01-01\nb: 1.2.3\nc: '010'\nd: \"1:30\"\ne: 12e", {"a": "2024-01-01", "b": "1.2.3", "c": "010", "d": "1:30", "e": "12e"}),
        ("b: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}", {"b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
        ("b: &b {x: 1}\nc: &c {x: 2, z: 3}\nd: {<<: [*b, *c]}", {"b": {"x": 1}, "c": {"x": 2, "z": 3}, "d": {"x": 1, "z": 3}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("1: a\n2: b", {1: "a", 2: "b"}),
        ("# nothing", None),
    ],
)
def test_what_is_plain_is_read_as_it_looks(text: str, value: Any) -> None:
    assert parse_yaml(text, "x") == value


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "x:3: the key a is there already, in line 1"),
        ("a:\n  b: 1\n  b: 2", "x:3: a: the key b is there already, in line 2"),
        ("load:\n- {a: 1, a: 2}", "x:2: load.0: the key a is there already"),
        ("a: !!binary aGk=", "x:1: a: the tag tag:yaml.org,2002:binary is not read"),
        ("a: !!python/object/apply:os.system ['true']", "x:1: a: the tag"),
        ("a: !x {}", "x:1: a: the tag !x is not read"),
        *(
            (f"a: {odd}", f"x:1: a: {odd} is octal, hexadecimal, binary or sexagesimal")
            for odd in ("1:30", "1:30:00.5", "0x1F", "010", "0b1")
        ),
        ("a: 0o17", "x:1: a: 0o17 is octal"),
        ("a: " + "9" * 5000, "x:1: a: a number of 5,000 characters"),
        ("a: " + "x" * 1_000_000, "x:1: a: a text of 1,000,000 characters"),
        ("a: " + "[" * 100_000, "nested deeper than 50 levels"),
        ("{" * 100_000, "a mapping or a list cannot be a key"),
        ("? [a, b]\n: 1", "x:1: a mapping or a list cannot be a key"),
        ("1.5: a", "1.5 cannot be a key"),
        ("true: a", "True cannot be a key"),
        (bomb(12), f"aliases expand to over {MOST_EXPANDED:,} values"),
        (bomb(12) + "\n? *a11\n: 1", f"aliases expand to over {MOST_EXPANDED:,} values"),
        ("a: &a [*a]", "the alias *a names itself"),
        ("a: *b", "*b names no anchor before it"),
        ("a: &a 1\nb: {<<: *a}", "<< merges mappings"),
        ("a: 1\n---\nb: 2", "x:2: a second document begins"),
        ("a:\n\t- b", "x:2: not YAML: while scanning for the next token found character that cannot start any token; indent with spaces"),
        ('a: "\\ud800"', "x:1: not YAML"),
        ('a: "\\e[31m"', "x:1: a: the control character U+001B"),
        ('a: "\\u202e"', "x:1: a: the control character U+202E"),
        ("a: \x1b", "control characters are not allowed"),
        ("a: [", "not YAML"),
        ("a: b: c", "not YAML"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_odd_is_refused_by_its_line_and_key(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "x")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "x.yaml: is empty"),
        (b" \n\n", "x.yaml: is empty"),
        (b"# words\n", "a scenario is a mapping"),
        (b"name: a\nb: \xff", "x.yaml:2: not UTF-8"),
        ("name: a".encode("utf-16"), "x.yaml:1: not UTF-8"),
        (b"x" * (MOST_BYTES + 1), "upper bound of a YAML file"),
        (b"purpose: " + b"x" * 5_000_000, "x.yaml:1: purpose: a text of 5,000,000 characters"),
    ],
)
def test_files_that_are_no_scenario(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(tmp_path / "x.yaml")
    assert says in str(caught.value)


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: a\nload: [{concurrency: 1, requests: 1}]\n")
    assert load_scenario(tmp_path / "x.yaml").name == "a"


def test_an_override_of_an_alias_leaves_its_anchor_as_it_is() -> None:
    tree = parse_yaml("a: &a {x: 1}\nb: *a", "x")
    apply_override(tree, "b.x=2")
    assert tree == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("a.0=1:30", "--set a.0=1:30: 1:30 is octal"),
        ("a.0={x: 1, x: 2}", "the key x is there already"),
        ("a.0=!!python/name:os.system", "the tag"),
        ("a.0=&a [*a]", "names itself"),
        ("a.²=1", "² is not a position in a list of 1"),
        ("a." + "9" * 5000 + "=1", "is not a position in a list of 1"),
        ("a.0=" + "[" * 10_000, "nested deeper"),
    ],
)
def test_values_of_overrides_are_read_as_strictly(override: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_override({"a": [1]}, override)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 500
