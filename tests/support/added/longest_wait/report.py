from __future__ import annotations

from tests.support.added.longest_wait.waits import LONGEST_WAIT_NS
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import ms
from trtbench.report.kit.words import Words

TITLES = {"en": "The longest wait", "zh": "最长的等待"}


def _sections(summary: Summary, words: Words, _: tuple[str, ...]) -> list[Section]:
    rows = tuple((result.name, ms(result.found[LONGEST_WAIT_NS])) for result in summary.deployments)
    return [Section(TITLES[words.language], (Table((words("col.deployment"), "ms"), rows),))]


REPORT = ExperimentReport(sections=_sections)
