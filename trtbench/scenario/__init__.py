"""A Scenario: what is asked, from YAML, validated and frozen before anything is spent.

Every field's description is its documentation: `trtbench schema` prints it as JSON schema for editors.
"""

from trtbench.scenario.client import ClientSettings, Tls
from trtbench.scenario.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy, Scheduler
from trtbench.scenario.part import NAME_PATTERN, Name, ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Dtype, ProviderName, Scenario, Seeds, Slo, Stability, Stop, Telemetry
from trtbench.scenario.stage import Stage
from trtbench.scenario.workload import Range, Sampling, Tokens, Workload

__all__ = [
    "NAME_PATTERN",
    "ClientSettings",
    "Deployment",
    "Dtype",
    "DynamicBatching",
    "KvCache",
    "Name",
    "ProviderName",
    "QueuePolicy",
    "Range",
    "Sampling",
    "Scenario",
    "ScenarioError",
    "Scheduler",
    "Seeds",
    "Slo",
    "Stability",
    "Stage",
    "Stop",
    "Telemetry",
    "Tls",
    "Tokens",
    "Workload",
    "load_scenario",
    "parse_scenario",
]
