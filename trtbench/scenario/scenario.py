"""A Scenario: what is requested, validated and frozen before anything is spent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, ValidationInfo, model_serializer, model_validator
from pydantic_core import PydanticKnownError

from trtbench.experiments.capacity.spec import Capacity
from trtbench.experiments.context_limit.spec import ContextLimit
from trtbench.experiments.grid.spec import Cells, Grid, cells_of, expand
from trtbench.experiments.hot_reload.spec import HotReload
from trtbench.experiments.repeats.spec import Repeats
from trtbench.experiments.scaling.spec import Scaling, expand_scaling
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.deployment.deployment import DECOUPLED_REASON, Deployment, check_priority_level
from trtbench.scenario.deployment.gpu_settings import Cost, GpuControl
from trtbench.scenario.deployment.rounds import Multiplied, Rounds
from trtbench.scenario.deployment.running_endpoint import OF_OUR_SERVERS, RunningEndpoint
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.measurement import Seeds, Slo, Stop, Telemetry
from trtbench.scenario.load.stage import Stage, check_repeats
from trtbench.scenario.parts.bounds import (
    MOST_DEPLOYMENTS,
    AtMost,
    is_of_a_run,
)
from trtbench.scenario.parts.choices import Dtype, ProviderName
from trtbench.scenario.parts.part import RUN_FILES, Name, Part
from trtbench.scenario.workload.workload import Workload
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import TaskName
from trtbench.tasks.unused_keys import UnusedKey, check_task, unused_keys, without_keys

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, the same text


_SEARCHES = ("context_limit", "capacity")
"""Keys of experiments that send their own requests in place of `load`."""


def _known_task(name: str) -> TaskName:
    if name not in TASKS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, TASKS))})
    return name


class Scenario(Part):
    """What is asked. The run is engines x deployments, each under every stage of load."""

    name: Name = Field(description="Name of the scenario, which is part of the name of the run directory.")
    purpose: Annotated[str, AtMost(2000)] = Field("", description="One line that states what the scenario is for.")
    task: Annotated[TaskName, AfterValidator(_known_task)] = Field(
        "generate",
        description="What the model does: generate tokens, or embed a text as one vector.",
        json_schema_extra={"enum": list(TASKS)},
    )
    model: str = Field(
        "smollm2-135m",
        description="Name of a demo model, or directory of a Hugging Face checkpoint; of an endpoint, the name that the server has for it.",
    )
    endpoint: RunningEndpoint | None = Field(
        None, description="Measure this running server in place of deployments; null: trtbench builds engines and serves them."
    )
    provider: ProviderName = Field(
        "auto", description="What builds and serves the engines; auto takes the first that can build on this machine."
    )
    engines: tuple[Dtype, ...] = Field(("fp16",), min_length=1, description="Precisions to build and serve.")
    build: BuildOptions = Field(BuildOptions(), description="How the engines are built.")
    deployments: Annotated[dict[Name, Deployment], AtMost(MOST_DEPLOYMENTS)] = Field({"default": Deployment()}, min_length=1)
    grid: Grid | None = Field(None, description="Multiply the one deployment over batching settings; each cell becomes a deployment.")
    scaling: Scaling | None = Field(
        None, description="Make the one deployment larger, step by step, along instances, threads, GPUs or servers."
    )
    repeats: Repeats | None = Field(
        None, description="Measure the load in several rounds: a number, or {most, least, until, order}; intervals are across rounds."
    )
    workload: Workload = Workload()
    load: tuple[Stage, ...] = Field((), description="Stages, one after another; at least one, unless a search replaces them.")
    capacity: Capacity | None = Field(None, description="Search the highest load that keeps an SLO, in place of load.")
    context_limit: ContextLimit | None = Field(None, description="Search the longest prompt in place of load.")
    hot_reload: HotReload | None = Field(None, description="Reload the model while the one stage of load, an open loop, runs.")
    gpu: GpuControl | None = Field(None, description="Hold clocks, power and memory of the GPUs; null: trtbench changes nothing.")
    slo: Slo = Slo()
    stop: Stop = Stop()
    cost: Cost = Cost()
    client: ClientSettings = ClientSettings()
    telemetry: Telemetry = Telemetry()
    seeds: Seeds = Seeds()

    @model_validator(mode="after")
    def _holds(self, info: ValidationInfo) -> Scenario:
        """Check the scenario as expanded, with the deployments that a grid or a scaling makes."""
        if self.endpoint:
            self.endpoint.check_alone(self, self.client)
        self.expanded()._check(of_a_run=is_of_a_run(info))
        return self

    def expanded(self) -> Scenario:
        """This scenario with the deployments of its grid or scaling in place of the one that they multiply.

        A scenario without either, or that is expanded already, is returned unchanged. ValueError for a deployment that cannot be
        multiplied.
        """
        self._check_rounds()
        if self.grid:
            grid, deployments = expand(self.grid, self.deployments)
            return self.model_copy(update={"grid": grid, "deployments": deployments})
        if self.scaling:
            scaling, deployments = expand_scaling(self.scaling, self.deployments)
            load = tuple(scaling.named(stage) for stage in self.load)
            return self.model_copy(update={"scaling": scaling, "deployments": deployments, "load": load})
        if self.repeats:
            repeats, deployments = self.repeats.expand(self.deployments)
            return self.model_copy(update={"repeats": repeats, "deployments": deployments})
        return self

    def _check(self, of_a_run: bool) -> None:
        """ValueError for keys that do not fit each other. `of_a_run`: the scenario of a run directory, which later bounds do not make
        invalid.
        """
        self._check_something_to_do()
        check_task(TASKS[self.task], self._unused_keys(), self.workload.kinds)
        self._check_caches()
        if not of_a_run:
            self._check_directories()
        self._check_unique()
        check_repeats(self.load, any(kind.cancel for kind in self.workload.kinds.values()))
        check_priority_level(self.deployments, 0 if self.endpoint else self.workload.lowest_priority_level)
        self._check_reloads()
        if self.build.engine_dir and len(self.dtypes) > 1:
            raise ValueError(f"build.engine_dir is one engine, engines are {', '.join(self.dtypes)}: name the one that it is")
        if self.scaling:
            self.scaling.check_load(self.load)
            if not of_a_run:
                self.scaling.check_points(self.load, self.deployments)
        self._check_single_server()

    def _check_rounds(self) -> None:
        """ValueError for two experiments of which each would decide on the rounds or the load of the other."""
        for key in ("grid", "scaling", "hot_reload"):
            if self.repeats and getattr(self, key):
                raise ValueError(
                    f"{key} and repeats exclude each other: {key} has rounds of its own; set {key}.repeats in place of repeats"
                )
        for key in _SEARCHES:
            if self.repeats and getattr(self, key):
                raise ValueError(f"{key} and repeats exclude each other: the search has no load to repeat; drop repeats")
        for key in ("grid", *_SEARCHES, "hot_reload"):
            if self.scaling and getattr(self, key):
                raise ValueError(
                    f"{key} and scaling exclude each other: scaling compares one deployment and its load with larger ones; drop one"
                )

    def _check_something_to_do(self) -> None:
        given = [key for key in ("load", *_SEARCHES) if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: a search sends its own requests; drop one")
        if not given:
            raise ValueError(f"load: has no stage; give at least one, or {' or '.join(_SEARCHES)}")
        if self.capacity:
            self.capacity.check_beside(self.grid, self.stop.stability, TASKS[self.task].unused_keys.get("slo", ()))

    def _check_caches(self) -> None:
        for name, deployment in self.deployments.items():
            if TASKS[self.task].streams_tokens and deployment.response_cache:
                others = " or ".join(name for name, task in TASKS.items() if not task.streams_tokens)
                raise ValueError(
                    f"deployments.{name}.response_cache: a model that generates tokens is served decoupled here, and Triton refuses it "
                    f"({DECOUPLED_REASON}): set it to null, or measure a model with task: {others}"
                )
        for stage in self.load:
            if stage.duplicate_ratio and any(kind.sessions for kind in self.workload.kinds.values()):
                raise ValueError(
                    f"load: duplicate_ratio of {stage.label} and workload.sessions exclude each other: a turn goes with its own session"
                )

    def _check_directories(self) -> None:
        """ValueError for two deployments with one directory, <name>-<engine>."""
        for name in self.deployments:
            if name in RUN_FILES or re.fullmatch(r"(requests|client)-\d+(\.\w+)?", name):
                raise ValueError(f"deployments.{name}: the run directory has a file or directory of this name: choose another name")
            for dtype in self.dtypes:
                if f"{name}-{dtype}" in self.deployments:
                    raise ValueError(
                        f"deployments: the run directory of {name} with engine {dtype} is {name}-{dtype}, and another deployment has "
                        "that name: rename one of them"
                    )

    def _check_unique(self) -> None:
        for key, values in (("engines", self.engines), ("load", [stage.label for stage in self.load])):
            twice = {value for value in values if list(values).count(value) > 1}
            if twice:
                raise ValueError(f"{key}: {', '.join(sorted(twice))} is listed twice; give each its own name")

    def _check_reloads(self) -> None:
        if not self.hot_reload:
            return
        self.hot_reload.check_load(self.load)
        changes_delay = any(reload.kind == "changed_config" for reload in self.hot_reload.reloads)
        for name, deployment in self.deployments.items():
            if changes_delay and not deployment.dynamic_batching:
                raise ValueError(
                    f"hot_reload.reloads changes max_queue_delay_us, deployments.{name}.dynamic_batching is null: "
                    "give it one, or drop kind changed_config"
                )

    def _check_single_server(self) -> None:
        for name, deployment in self.deployments.items():
            replicas = deployment.replicas
            if replicas.count == 1 and replicas.balancer == "client":
                continue
            for key in ("context_limit", "hot_reload"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} works on one server, deployments.{name}.replicas asks for more or a balancer: drop one of them"
                    )

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The dtype of every engine that is needed: those that are served, and those to which a reload changes."""
        return tuple(dict.fromkeys((*self.engines, *(self.hot_reload.engines if self.hot_reload else ()))))

    @property
    def multiplied(self) -> Multiplied | None:
        """The grid or scaling that multiplies the deployment, or None."""
        return self.grid or self.scaling

    @property
    def rounds(self) -> Rounds | None:
        """What gives the run its rounds: the grid, the scaling or the repeats, or None."""
        return self.multiplied or self.repeats

    def load_of(self, deployment: str) -> tuple[Stage, ...]:
        """The stages that one deployment receives."""
        if self.scaling is None or deployment not in self.deployments:
            return self.load
        _, units = self.scaling.point_of(deployment)
        return tuple(self.scaling.stage_at(stage, units) for stage in self.load)

    def planned(self, deployment: str) -> Scenario:
        """The scenario by which the plan of one deployment is drawn: with its stages in their order, and the seeds of its round."""
        if self.repeats is None or deployment not in self.deployments:
            return self.model_copy(update={"load": self.load_of(deployment)})
        number = self.repeats.round_of(deployment)
        stages = self.repeats.stages(self.load, number, self.seeds.order)
        return self.model_copy(update={"load": stages, "seeds": self.seeds.of_round(number)})

    @property
    def cells(self) -> Cells | None:
        """The cells of an expanded grid and those that it leaves out; None without a grid."""
        if self.grid is None or self.grid.base is None:
            return None
        return cells_of(self.grid, self.grid.base, self.grid.cell_of(next(iter(self.deployments))))

    @model_serializer(mode="wrap")
    def _without_the_other_servers(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The keys of the servers that are measured: those of the endpoint, or those of the servers that trtbench starts."""
        others = OF_OUR_SERVERS if self.endpoint else ("endpoint",)
        tree: dict[str, Any] = dumped(self)
        return {key: value for key, value in tree.items() if key not in others}

    def dump(self) -> str:
        """The effective scenario with defaults filled in, as YAML that loads to the same Scenario."""
        tree = without_keys(self.model_dump(mode="json"), self._unused_keys())
        return str(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True))

    def _unused_keys(self) -> Iterator[UnusedKey]:
        return unused_keys(TASKS[self.task], self, self.build, self.workload, self.deployments, self.multiplied, self.slo)
