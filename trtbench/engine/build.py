"""Makes an Engine of an EngineSpec: chooses the provider, looks in the cache, builds next to the final place, and renames the result
into it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from trtbench.engine.checkpoint import Checkpoint, check_checkpoint, model_facts, publish, resolve_checkpoint
from trtbench.engine.openvino.provider import OpenVinoProvider
from trtbench.engine.spec import BUILDING, BuildJob, BuildLog, Engine, EngineError, EngineProvider, EngineSpec
from trtbench.engine.tensorrt.provider import TensorRtProvider
from trtbench.engine.tensorrt_llm.adopt import AdoptedEngine
from trtbench.engine.tensorrt_llm.llmapi import LlmApiProvider
from trtbench.engine.tensorrt_llm.provider import TensorRtLlmProvider
from trtbench.engine.vllm_provider import VllmProvider
from trtbench.scenario.parts.choices import ProviderName, ServerName
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.parts.strict_yaml import YamlError, read_yaml
from trtbench.scenario.reading import parse_part
from trtbench.system import packaged_data
from trtbench.system.leftovers import own_path, sweep_directory
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import TaskName

PROVIDERS: dict[str, EngineProvider] = {
    "tensorrt_llm": TensorRtLlmProvider(),
    "llmapi": LlmApiProvider(),
    "tensorrt": TensorRtProvider(),
    "openvino": OpenVinoProvider(),
    "vllm": VllmProvider(),
}
"""The providers in the order in which `auto` tries them."""

OF_SERVERS: Mapping[ServerName, EngineProvider] = {"vllm": PROVIDERS["vllm"]}
"""The provider of a deployment that names a server of its own, in place of the scenario's."""

DEFAULT_OUTPUT = Path("engines/built")


@dataclass(frozen=True)
class Built:
    engine: Engine
    cached: bool


@dataclass(frozen=True)
class PlannedEngine:
    """An engine before it is built, and its place in the cache.

    The directory's name ends in the content hash: checkpoint bytes, dtype, options, provider and its versions.
    """

    spec: EngineSpec
    provider: EngineProvider
    versions: dict[str, str]
    checkpoint: Checkpoint
    checkpoint_sha256: str
    sha256: str
    path: Path

    def engine(self, log: BuildLog) -> Built:
        """The engine, from the cache or newly built; EngineError if the build fails."""
        if self.path.is_dir():
            return Built(Engine.load(self.path), cached=True)
        facts = model_facts(str(self.checkpoint.path))
        with _building(self.path) as temporary:
            built = self.provider.build(BuildJob(self.spec, self.checkpoint.path, self.checkpoint_sha256, facts, temporary), log)
            Engine(
                path=temporary,
                model=self.checkpoint.name,
                dtype=self.spec.dtype,
                provider=self.provider.name,
                provider_versions=self.versions,
                model_facts=facts,
                weights_dtype=built.weights_dtype,
                kv_block_tokens=built.kv_block_tokens,
                checkpoint_sha256=self.checkpoint_sha256,
                options=built.options,
                sha256=self.sha256,
                size_bytes=built.size_bytes if built.size_bytes is not None else _size_bytes(temporary),
                build_steps=tuple(log.steps),
                built_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                kv_dtype=built.kv_dtype,
            ).save()
        return Built(Engine.load(self.path), cached=False)


def load_spec(name: str) -> EngineSpec:
    """An EngineSpec from a YAML file, from the name of one that trtbench has, or for a model without one; EngineError if it is not
    valid.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        shipped = packaged_data.ENGINES / f"{name}.yaml"
        if not shipped.is_file():
            return EngineSpec(model=name)
        path = shipped
    where = f"engine spec {path}"
    try:
        tree = read_yaml(path)
        if not isinstance(tree, dict):
            raise EngineError(f"{where}: a spec is a mapping with at least `model`")
        return parse_part(EngineSpec, tree, where)
    except OSError as error:
        raise EngineError(f"{where} cannot be read ({error.strerror})") from error
    except YamlError as error:
        raise EngineError(f"engine spec {error}") from error
    except ScenarioError as error:
        raise EngineError(str(error)) from error


def choose_provider(name: ProviderName, task: TaskName = GENERATE.name) -> EngineProvider:
    """The named provider, or for `auto` the first that can build here; EngineError with the reasons if there is none."""
    able = {key: provider for key, provider in PROVIDERS.items() if task in provider.tasks}
    candidates = list(able.values()) if name == "auto" else [able[name]] if name in able else []
    if not candidates:
        raise EngineError(
            f"provider {name} builds no {TASKS[task].models}: choose {' or '.join(able)}, or serve it yourself for "
            f"`trtbench bench --task {task}`"
        )
    reasons = []
    for provider in candidates:
        reason = provider.unavailable()
        if reason is None:
            return provider
        reasons.append(f"provider {provider.name} cannot run here: {reason}")
    raise EngineError("\n".join(reasons))


def provider_of(spec: EngineSpec) -> EngineProvider:
    """The provider that `spec` names, or the first that can build it here; EngineError if there is none, or if the checkpoint is
    incomplete.
    """
    check_checkpoint(spec.model, _needs_weights(spec))
    if spec.build.engine_dir:
        return AdoptedEngine(spec.build.engine_dir)
    return choose_provider(spec.provider, model_facts(spec.model).task)


def check_spec(spec: EngineSpec, provider: EngineProvider) -> None:
    """EngineError if `provider` can never build `spec` here."""
    if reason := provider.refusal(spec):
        raise _cannot(spec, provider, reason)


def _cannot(spec: EngineSpec, provider: EngineProvider, reason: str) -> EngineError:
    return EngineError(f"provider {provider.name} cannot build {spec.model} {spec.dtype}: {reason}")


def build_engine(spec: EngineSpec, output: Path, log: BuildLog) -> Built:
    """The engine of a spec, from the cache in `output` or newly built there; EngineError if it cannot be built."""
    provider = provider_of(spec)
    check_spec(spec, provider)
    return plan_engine(spec, provider, output, log).engine(log)


def plan_engine(spec: EngineSpec, provider: EngineProvider, output: Path, log: BuildLog) -> PlannedEngine:
    """The place of a checked spec in the cache; EngineError if the place is empty and something is missing for a build.

    It fetches a demo, but builds nothing.
    """
    checkpoint = resolve_checkpoint(spec.model, log, _needs_weights(spec))
    checkpoint_sha256 = checkpoint.sha256()
    versions = provider.versions()
    key = {"checkpoint": checkpoint_sha256, "dtype": spec.dtype, "provider": provider.name, "versions": versions}
    key |= provider.content(spec)
    sha256 = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = output.resolve() / f"{checkpoint.name}-{spec.dtype}-{provider.name}-{sha256[:12]}"
    if not path.is_dir() and (reason := provider.shortage(spec)):
        raise _cannot(spec, provider, reason)
    return PlannedEngine(spec, provider, versions, checkpoint, checkpoint_sha256, sha256, path)


def _needs_weights(spec: EngineSpec) -> bool:
    return not spec.build.dummy_weights and not spec.build.engine_dir


def _size_bytes(engine: Path) -> int:
    return sum(file.stat().st_size for file in engine.iterdir() if not file.name.startswith("tokenizer"))


@contextmanager
def _building(path: Path) -> Iterator[Path]:
    """A temporary directory next to `path` that becomes `path` if the block succeeds, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_directory(path.parent)
    temporary = own_path(path.parent, BUILDING, path.name)
    temporary.mkdir()
    try:
        yield temporary
        publish(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
