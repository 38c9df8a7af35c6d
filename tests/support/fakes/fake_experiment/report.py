"""What the experiment that counts requests adds to the report."""

from __future__ import annotations

from tests.support.fakes.fake_experiment.analysis import TOTAL
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Paragraph, Section
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.words import Words


def _sections(summary: Summary, _: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section("Counted", (Paragraph(f"{summary.found[TOTAL]} requests, {'drawn' if 'counted' in drawings else 'not drawn'}"),))]


REPORT = ExperimentReport(
    sections=_sections, after="metrics", leads=lambda summary, _: ("It counts.",), parameters=lambda summary, _: [("Counting", "on")]
)
