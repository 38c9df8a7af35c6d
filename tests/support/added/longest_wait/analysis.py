from __future__ import annotations

from tests.support.added.longest_wait.waits import LONGEST_WAIT_NS
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis
from trtbench.analysis.found import Found


def _of_deployment(records: DeploymentRecords) -> Found:
    requests = records.requests
    return Found().put(LONGEST_WAIT_NS, int((requests.done_ns - requests.due_ns).max()))


ANALYSIS = ExperimentAnalysis(of_deployment=_of_deployment)
