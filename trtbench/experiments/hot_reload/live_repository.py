"""A model repository that changes while a server serves it."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trtbench.experiments.hot_reload.spec import HotReload
from trtbench.serving.repository.model_repository import MODEL_VERSION, RenderedRepository, pbtxt_string, write_version

REVISION = "trtbench_revision"
"""A parameter in config.pbtxt that distinguishes its changes, because the index does not distinguish two loads of one version."""

_DELAY = re.compile(r"max_queue_delay_microseconds: \d+")
_NAME = re.compile(r'^name: "[^"]*"', re.MULTILINE)
_ENGINE = re.compile(r'(key:\s*"(?:engine_dir|gpt_model_path)"\s*value:?\s*\{\s*string_value:\s*)"([^"]*)"')
_LATEST = "version_policy {{ latest {{ num_versions: {versions} }} }}\n"
_BROKEN_MODEL = '''"""A version that cannot be loaded, put here on purpose by a scenario's `hot_reload`."""


class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("broken on purpose: this version must not load")
'''
_WARMUP_TOKENS, _WARMUP_OUTPUTS = 16, 4  # together less than one block of any KV cache
_WARMUP_FILES = {"input_lengths": _WARMUP_TOKENS, "request_output_len": _WARMUP_OUTPUTS}


@dataclass(frozen=True)
class Change:
    """What the server has to serve: a `version` of `model` with the config.pbtxt of a `revision`."""

    model: str
    version: str
    revision: str


def reloadable(repository: RenderedRepository, asked: HotReload) -> RenderedRepository:
    """`repository` for a server whose models change while it runs. It serves the latest versions of each model, as many as `asked`
    requests.
    """
    flags: tuple[str, ...] = ("--model-control-mode=explicit", f"--load-model={repository.model_name}")
    if asked.control == "poll":
        flags = ("--model-control-mode=poll", f"--repository-poll-secs={asked.poll_s}")
    config = repository.config + _LATEST.format(versions=asked.version_policy.latest)
    return replace(repository, config=config, server_flags=(*repository.server_flags, *flags))


class LiveRepository:
    """The files of a model that a running server serves, and of a second model that alternates with it.

    Every directory is written next to the repository and renamed into place. The two models never use the same version number, so the
    number alone identifies which of them answered a request.
    """

    def __init__(self, root: Path, repository: RenderedRepository) -> None:
        self._root, self._config = root, repository.config
        self._source, self._files = repository.source, repository.files
        self._beside = root.with_name(f"{root.name}.staged")
        self.models = (repository.model_name, f"{repository.model_name}-green")
        self.model = repository.model_name
        """The name of the model that is served."""
        self._version = self._highest = int(MODEL_VERSION)
        self._revision = 0
        self._delay_us: int | None = None
        self.warms_up = False
        """Whether Triton warms up the models that are loaded from the next change on."""

    @property
    def serving(self) -> Change:
        """What the server has to serve according to the files."""
        return Change(self.model, str(self._version), str(self._revision))

    def add_version(self, config: str | None = None) -> Change:
        """Add a version directory, and replace config.pbtxt if `config` is given."""
        self._config = config or self._config
        version = self._next_version()
        self._stage_version().rename(self._root / self.model / version)
        self._version = int(version)
        return self._write_config(self.model)

    def set_queue_delay(self, delay_us: int) -> Change:
        """Set the queue delay, which a change of engine keeps; ValueError for a model without a dynamic batcher."""
        if not _DELAY.search(self._config):
            raise ValueError("config.pbtxt has no max_queue_delay_microseconds: the deployment has no dynamic_batching")
        self._delay_us = delay_us
        return self._write_config(self.model)

    def same(self) -> Change:
        """Have the served version loaded again."""
        return self._write_config(self.model)

    @contextmanager
    def broken_version(self, breaks: Literal["model", "engine"]) -> Iterator[Change]:
        """Add a version that cannot load. On exit everything is as before, whatever happened."""
        served, config, version = self._version, self._config, self._next_version()
        directory, engine = self._root / self.model / version, self._beside / f"broken-engine-{version}"
        try:
            staged = self._stage_version()
            if breaks == "model":
                _break_model(staged / "model.py")
            else:
                self._config = _with_engine(config, _cut_in_half(_engine_of(config), engine))
            staged.rename(directory)
            self._version = int(version)
            yield self._write_config(self.model)
        finally:
            self._version, self._config = served, config
            self._write_config(self.model)
            for path in (directory, engine):
                shutil.rmtree(path, ignore_errors=True)

    def add_model(self, config: str | None = None) -> Change:
        """Add the other model. The caller calls `serve` when it is ready, or `remove`."""
        self._config = config or self._config
        (other,) = (name for name in self.models if name != self.model)
        version = self._next_version()
        staged = self._beside / other
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        self._stage_version().rename(staged / version)
        change = self._write_config(other, staged, version)
        staged.rename(self._root / other)
        return change

    def serve(self, change: Change) -> None:
        """Apply further changes to the model of `change`."""
        self.model, self._version = change.model, int(change.version)

    def remove(self, model: str) -> None:
        """Delete a model with its files."""
        self.take_away(model)
        shutil.rmtree(self._beside / model)

    def take_away(self, model: str) -> None:
        self._beside.mkdir(exist_ok=True)
        (self._root / model).rename(self._beside / model)

    def put_back(self, model: str) -> None:
        (self._beside / model).rename(self._root / model)

    def _next_version(self) -> str:
        self._highest += 1
        return str(self._highest)

    def _stage_version(self) -> Path:
        staged = self._beside / "version"
        shutil.rmtree(staged, ignore_errors=True)
        write_version(staged, self._source, self._files)
        return staged

    def _write_config(self, model: str, directory: Path | None = None, version: str = "") -> Change:
        self._revision += 1
        directory = directory or self._root / model
        config = _NAME.sub(lambda _: f'name: "{pbtxt_string(model)}"', self._config, count=1)
        if self._delay_us is not None:
            config = _DELAY.sub(f"max_queue_delay_microseconds: {self._delay_us}", config)
        if self.warms_up:
            _write_warmup(directory / "warmup")
            config += _warmup(config)
        config += f'parameters {{ key: "{REVISION}" value {{ string_value: "{self._revision}" }} }}\n'
        self._beside.mkdir(exist_ok=True)
        staged = self._beside / "config.pbtxt"
        staged.write_text(config, encoding="utf-8")
        staged.replace(directory / "config.pbtxt")
        return replace(self.serving, model=model, version=version or str(self._version))


def _warmup(config: str) -> str:
    """The warm-up of a config.pbtxt: one request. An encoder has no inputs for numbers of tokens."""
    ids = f"data_type: TYPE_INT32 dims: [ {_WARMUP_TOKENS} ] zero_data: true"
    inputs = [f'key: "input_ids" value {{ {ids} }}']
    for name in _WARMUP_FILES:
        if f'"{name}"' in config:
            inputs.append(f'key: "{name}" value {{ data_type: TYPE_INT32 dims: [ 1 ] input_data_file: "{name}" }}')
    rows = "".join(f"  inputs {{ {one} }}\n" for one in inputs)
    return f'model_warmup [ {{\n  name: "trtbench" batch_size: 1\n{rows}}} ]\n'


def _write_warmup(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for name, value in _WARMUP_FILES.items():
        if not (directory / name).exists():
            (directory / name).write_bytes(struct.pack("<i", value))


def _break_model(path: Path) -> None:
    """Make model.py raise an error; ValueError if the backend reads no such file."""
    if not path.exists():
        raise ValueError("this model has no model.py that could raise: use broken: engine")
    path.write_text(_BROKEN_MODEL, encoding="utf-8")


def _engine_of(config: str) -> Path:
    """The engine that a config.pbtxt names; ValueError if it names none."""
    found = _ENGINE.search(config)
    if not found:
        raise ValueError("config.pbtxt names no engine that could be broken: use broken: model")
    return Path(found[2])


def _with_engine(config: str, engine: Path) -> str:
    return _ENGINE.sub(lambda found: f'{found[1]}"{pbtxt_string(engine)}"', config)


def _cut_in_half(engine: Path, broken: Path) -> Path:
    """A copy of `engine` whose largest file, the weights, is cut in half; the other files are links."""
    broken.mkdir(parents=True)
    files = [path for path in engine.iterdir() if path.is_file()]
    weights = max(files, key=lambda path: path.stat().st_size)
    for path in files:
        if path != weights:
            (broken / path.name).symlink_to(path.resolve())
    with weights.open("rb") as whole:
        (broken / weights.name).write_bytes(whole.read(weights.stat().st_size // 2))
    return broken
