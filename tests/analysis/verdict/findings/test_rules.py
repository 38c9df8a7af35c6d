"""Every rule has its words in both languages, and the command that would prove it names keys that a scenario has."""

from __future__ import annotations

import re
import shlex
from copy import deepcopy
from itertools import chain, pairwise

import pytest

from trtbench.analysis.verdict.findings.rules import RULES
from trtbench.report.kit.words import LANGUAGES, texts_of
from trtbench.scenario.reading import parse_scenario

CODES = tuple(chain.from_iterable(rule.codes for rule in RULES))
_PARTS = ("title", "seen", "cause", "remedy", "prove")
_TREE = {
    "name": "proof",
    "load": [{"concurrency": 1, "requests": 10}],
    "deployments": {"NAME": {"dynamic_batching": {}, "kv_cache": {}, "scheduler": {}}},
    "provider": "llmapi",
}


def parts_of(code: str) -> set[str]:
    """The parts of a finding that have a text, of its own or of the first word that it shares."""
    keys = texts_of("en").keys()
    return {part for part in _PARTS if f"finding.{code}.{part}" in keys or f"finding.{code.split('_')[0]}.{part}" in keys}


def test_no_code_belongs_to_two_rules() -> None:
    assert len(CODES) == len(set(CODES))


@pytest.mark.parametrize("code", [code for code in CODES if not code.endswith("_")])
def test_a_rule_has_all_its_words(code: str) -> None:
    assert parts_of(code) == set(_PARTS)


@pytest.mark.parametrize("prefix", [code for code in CODES if code.endswith("_")])
def test_a_class_of_a_rule_has_all_its_words(prefix: str) -> None:
    codes = {key.split(".")[1] for key in texts_of("en") if key.startswith(f"finding.{prefix}")}
    assert codes and all(parts_of(code) == set(_PARTS) for code in codes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_proof_is_a_command_that_a_scenario_takes(language: str) -> None:
    proofs = {key: text.format() for key, text in texts_of(language).items() if re.fullmatch(r"finding\.\w+\.prove", key)}  # type: ignore[arg-type]
    assert len(proofs) >= len(CODES) - 1
    for key, text in proofs.items():
        commands = re.findall(r"`(trtbench [^`]+)`", text)
        assert commands or "`--extra-input" in text, key
        for command in commands:
            words = shlex.split(command)
            overrides = [value for option, value in pairwise(words) if option == "--set"]
            parse_scenario(deepcopy(_TREE), key, overrides)
