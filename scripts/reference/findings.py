"""The rules of findings, with their words, for docs/findings.md."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getdoc

from trtbench.analysis.verdict.findings.rule import Rule
from trtbench.analysis.verdict.findings.rules import RULES
from trtbench.report.kit.words import texts_of


def findings_page() -> str:
    """A section for each rule: its condition, then what each of its findings says."""
    return "\n\n".join(_section(rule) for rule in RULES)


def _section(rule: Rule) -> str:
    codes = [code for prefix in rule.codes for code in _codes(prefix)]
    condition = " ".join((getdoc(rule.find) or "").split())
    heading = ", ".join(f"`{code}`" for code in codes if len(rule.codes) > 1 or len(codes) == 1) or f"`{rule.codes[0]}...`"
    rows = "\n".join(_row(code) for code in codes)
    return f"### {heading}\n{condition}\n\n| code | likely cause | what to do | how to prove it |\n| --- | --- | --- | --- |\n{rows}"


def _codes(prefix: str) -> Iterator[str]:
    """The code itself; of a prefix, all codes that begin with it and have words."""
    if not prefix.endswith("_"):
        yield prefix
    else:
        yield from dict.fromkeys(key.split(".")[1] for key in texts_of("en") if key.startswith(f"finding.{prefix}"))


def _row(code: str) -> str:
    return f"| `{code}` | {' | '.join(_text(code, part) for part in ('cause', 'remedy', 'prove'))} |"


def _text(code: str, part: str) -> str:
    texts = texts_of("en")
    text = texts.get(f"finding.{code}.{part}") or texts[f"finding.{code.split('_')[0]}.{part}"]
    return text.replace("{{", "{").replace("}}", "}").replace("|", r"\|").replace("{cause}", "(as the server or the log says)")
