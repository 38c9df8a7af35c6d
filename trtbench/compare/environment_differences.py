"""What else differs between two runs than their figures, and which of it makes a comparison meaningless."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.compare.alignment import DeploymentPair
from trtbench.rundir.records import Environment

_ABSENT = "-"
_SHOWN_HASH = 12


@dataclass(frozen=True, slots=True)
class RunDifference:
    """A fact of which the runs have different values, as text. `decisive`: the runs did not measure the same thing."""

    fact: str
    base: str
    candidate: str
    decisive: bool = False


def run_differences(base: Summary, candidate: Summary, pairs: Sequence[DeploymentPair]) -> tuple[RunDifference, ...]:
    """All differences, the decisive ones first."""
    found = [*_of_plan(base, candidate), *_of_machine(base.environment, candidate.environment, _local(pairs))]
    for pair in pairs:
        prefix = f"{pair.name}: " if len(pairs) > 1 else ""
        for base_round, candidate_round in pair.rounds()[:1]:
            found += _different(_deployment_facts(base_round), _deployment_facts(candidate_round), prefix=prefix)
    return tuple(sorted(found, key=lambda one: not one.decisive))


def _of_plan(base: Summary, candidate: Summary) -> Iterator[RunDifference]:
    """Workload, seeds, model and task must be equal, or the runs did not ask the same of the same."""
    facts = [
        {"task": one.scenario.task, "model": one.scenario.model, "workload": one.scenario.workload.model_dump(mode="json")}
        | {"seeds": one.scenario.seeds.model_dump(mode="json"), "slo": one.scenario.slo.model_dump(mode="json", exclude_none=True)}
        for one in (base, candidate)
    ]
    for name in facts[0]:
        own, other = _flat(name, facts[0][name]), _flat(name, facts[1][name])
        yield from _different(own, other, decisive=name != "slo")


def _of_machine(base: Environment, candidate: Environment, local: bool) -> Iterator[RunDifference]:
    """`local`: the machine of the run also served, so that its processor counts."""
    gpus = [{"GPU": ", ".join(str(gpu.get("name", "?")) for gpu in one.gpus) or "none"} for one in (base, candidate)]
    yield from _different(*gpus, decisive=local)
    own = [{"CPU": one.cpu_model, "CPU count": str(one.cpu_count)} for one in (base, candidate)]
    yield from _different(*own, decisive=local and not (base.gpus or candidate.gpus))
    facts = [
        {"machine": one.hostname_sha256[:_SHOWN_HASH], "driver": one.nvml, "platform": one.platform, "python": one.python}
        | {"memory": str(one.memory_bytes), "memory limit": str(one.memory_limit_bytes or _ABSENT), "trtbench": one.trtbench_version}
        | {f"package {name}": version for name, version in one.packages.items()}
        | {f"variable {name}": value for name, value in one.variables.items()}
        | {f"GPU {number} {key}": str(value) for number, gpu in enumerate(one.gpus) for key, value in gpu.items() if key != "name"}
        for one in (base, candidate)
    ]
    yield from _different(*facts)


def _deployment_facts(one: DeploymentResult) -> dict[str, str]:
    facts = one.facts
    named = {
        "provider": facts.provider,
        "dtype": facts.dtype,
        "mode": facts.mode,
        "server": facts.server_name,
        "server version": facts.triton_version,
        "model version": facts.model_version,
        "engine": facts.engine_sha256 and facts.engine_sha256[:_SHOWN_HASH],
        "balancer": facts.balancer_version,
    }
    return {name: str(value) for name, value in named.items() if value} | dict(_flat("config", facts.config))


def _local(pairs: Sequence[DeploymentPair]) -> bool:
    return any(one.facts.mode == other.facts.mode == "own" for pair in pairs for one, other in pair.rounds())


def _different(
    base: Mapping[str, str], candidate: Mapping[str, str], *, decisive: bool = False, prefix: str = ""
) -> Iterator[RunDifference]:
    for name in dict.fromkeys((*base, *candidate)):
        own, other = base.get(name, _ABSENT), candidate.get(name, _ABSENT)
        if own != other:
            yield RunDifference(f"{prefix}{name}", own, other, decisive)


def _flat(name: str, tree: object) -> dict[str, str]:
    """The leaves of JSON as texts, by their dotted keys."""
    if isinstance(tree, Mapping) and tree:
        return {key: text for part, value in tree.items() for key, text in _flat(f"{name}.{part}", value).items()}
    return {name: tree if isinstance(tree, str) else json.dumps(tree)}
