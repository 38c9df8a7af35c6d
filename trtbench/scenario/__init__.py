"""A Scenario: what is asked, from YAML, validated and frozen before anything is spent.

Every field's description is its documentation: `trtbench schema` prints it as JSON schema for editors.
"""

from trtbench.scenario.build_options import PLUGINS, BuildOptions, Dtype
from trtbench.scenario.client import ClientSettings, Tls
from trtbench.scenario.context_limit import ContextLimit
from trtbench.scenario.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy, Scheduler
from trtbench.scenario.gpu import CoolDown, GpuControl
from trtbench.scenario.grid import Cells, Grid, cells_of
from trtbench.scenario.headers import FromEnvironment, Headers, check_headers, metadata_of
from trtbench.scenario.hot_reload import HotReload, PlannedReload, Reload, VersionPolicy
from trtbench.scenario.lengths import Empirical, Lengths, Lognormal, Normal, Range
from trtbench.scenario.part import NAME_PATTERN, Name, Problem, ScenarioError
from trtbench.scenario.ramp import Ramp, UserRamp
from trtbench.scenario.reading import load_run_scenario, load_scenario, parse_part, parse_scenario
from trtbench.scenario.replicas import Replicas
from trtbench.scenario.request_kind import Cancel, Dataset, Prefix, RequestKind, Sessions
from trtbench.scenario.response_cache import LocalCache, RedisCache, ResponseCache
from trtbench.scenario.reuse import expected_hit_ratio
from trtbench.scenario.rounds import run_order
from trtbench.scenario.scaling import Axis, Scaling
from trtbench.scenario.scenario import ProviderName, Scenario, Seeds, Slo, Stability, Stop, Telemetry
from trtbench.scenario.stage import Stage
from trtbench.scenario.task import Task
from trtbench.scenario.think import Think, ThinkTime
from trtbench.scenario.trtllm import BackendParameters, LlmApi, TensorRtLlm
from trtbench.scenario.workload import Component, Sampling, Workload

__all__ = [
    "NAME_PATTERN",
    "PLUGINS",
    "Axis",
    "BackendParameters",
    "BuildOptions",
    "Cancel",
    "Cells",
    "ClientSettings",
    "Component",
    "ContextLimit",
    "CoolDown",
    "Dataset",
    "Deployment",
    "Dtype",
    "DynamicBatching",
    "Empirical",
    "FromEnvironment",
    "GpuControl",
    "Grid",
    "Headers",
    "HotReload",
    "KvCache",
    "Lengths",
    "LlmApi",
    "LocalCache",
    "Lognormal",
    "Name",
    "Normal",
    "PlannedReload",
    "Prefix",
    "Problem",
    "ProviderName",
    "QueuePolicy",
    "Ramp",
    "Range",
    "RedisCache",
    "Reload",
    "Replicas",
    "RequestKind",
    "ResponseCache",
    "Sampling",
    "Scaling",
    "Scenario",
    "ScenarioError",
    "Scheduler",
    "Seeds",
    "Sessions",
    "Slo",
    "Stability",
    "Stage",
    "Stop",
    "Task",
    "Telemetry",
    "TensorRtLlm",
    "Think",
    "ThinkTime",
    "Tls",
    "UserRamp",
    "VersionPolicy",
    "Workload",
    "cells_of",
    "check_headers",
    "expected_hit_ratio",
    "load_run_scenario",
    "load_scenario",
    "metadata_of",
    "parse_part",
    "parse_scenario",
    "run_order",
]
