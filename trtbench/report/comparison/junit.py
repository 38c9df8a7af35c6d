"""Gates as JUnit XML, which CI servers show: a test case for each gate on each pair of stages.

An undecided gate is an `error`, not `skipped`: the command ends with 6, and what could not be decided must not look as if it had passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from trtbench.compare.decision import Decision
from trtbench.report.comparison.comparison_rows import gate_bounds, gate_value, where_of, why_of
from trtbench.report.kit.words import Words
from trtbench.system.foreign_text import harmless

SUITE = "trtbench compare"


def junit_xml(decisions: Sequence[Decision], words: Words) -> bytes:
    """The document in UTF-8. Names and messages contain no characters that XML forbids."""
    failed, undecided = (sum(one.outcome == outcome for one in decisions) for outcome in ("failed", "undecided"))
    counts = {"tests": str(len(decisions)), "failures": str(failed), "errors": str(undecided), "skipped": "0"}
    root = ElementTree.Element("testsuites", name=SUITE, attrib=counts)
    suite = ElementTree.SubElement(root, "testsuite", name=SUITE, attrib=counts)
    for one in decisions:
        run = one.difference.candidate_run if one.difference else ""
        case = ElementTree.SubElement(
            suite, "testcase", classname=harmless(f"{run} {where_of(one.difference)}".strip()), name=one.gate.text
        )
        message = harmless(f"{gate_value(one, one.value)} [{gate_bounds(one)}] {why_of(one, words)}".strip())
        if one.outcome == "failed":
            ElementTree.SubElement(case, "failure", type="regression", message=message)
        elif one.outcome == "undecided":
            ElementTree.SubElement(case, "error", type="undecided", message=message)
        else:
            ElementTree.SubElement(case, "system-out").text = message
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
