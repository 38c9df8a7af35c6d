"""A model repository that changes while a server serves it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trtbench.serving.model_repository import RenderedRepository
from trtbench.serving.rendered_model import MODEL_VERSION

_DELAY = re.compile(r"max_queue_delay_microseconds: \d+")
_LATEST = "version_policy { latest { num_versions: 1 } }\n"
_BROKEN_MODEL = '''"""A version that cannot be loaded, put here on purpose by a scenario's `hot_reload`."""


class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("broken on purpose: this version must not load")
'''


def reloadable(repository: RenderedRepository) -> RenderedRepository:
    """`repository` for a server whose models are loaded and unloaded by request; one version, the latest, is served."""
    flags = ("--model-control-mode=explicit", f"--load-model={repository.model_name}")
    return replace(repository, config=repository.config + _LATEST, server_flags=(*repository.server_flags, *flags))


class LiveRepository:
    """The files of one model under a running server; every change is whole before the server is told to look."""

    def __init__(self, root: Path, repository: RenderedRepository) -> None:
        self._model = root / repository.model_name
        self._source = repository.source
        self._config = repository.config
        self._highest = int(MODEL_VERSION)
        self._delay_us: int | None = None

    def add_version(self, config: str | None = None) -> str:
        """A further version directory, with it another config.pbtxt when given; its number."""
        self._highest += 1
        version = str(self._highest)
        staged = self._model.parent / f".{self._model.name}-{version}"  # a name that Triton never looks at
        shutil.copytree(self._source, staged, ignore=shutil.ignore_patterns("__pycache__"))
        staged.rename(self._model / version)
        if config is not None:
            self._write_config(config)
        return version

    def set_queue_delay(self, delay_us: int) -> None:
        """ValueError for a model without a dynamic batcher."""
        if not _DELAY.search(self._config):
            raise ValueError("config.pbtxt has no max_queue_delay_microseconds: the deployment has no dynamic_batching")
        self._delay_us = delay_us
        self._write_config(self._config)

    @contextmanager
    def broken_version(self) -> Iterator[str]:
        """A further version that cannot load; on exit it is gone, whatever happened."""
        version = self.add_version()
        try:
            (self._model / version / "model.py").write_text(_BROKEN_MODEL, encoding="utf-8")
            yield version
        finally:
            shutil.rmtree(self._model / version)

    def _write_config(self, config: str) -> None:
        """A queue delay that was set outlives a change of engine."""
        if self._delay_us is not None:
            config = _DELAY.sub(f"max_queue_delay_microseconds: {self._delay_us}", config)
        staged = self._model / "config.pbtxt.new"
        staged.write_text(config, encoding="utf-8")
        staged.replace(self._model / "config.pbtxt")
        self._config = config
