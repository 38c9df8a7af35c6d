"""The sampler as the run sees it: a process of its own that appends to samples.jsonl, and readings at stage borders.

A process of its own, because parsing in the load generator's would take its interpreter lock and colour the stamps.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from trtbench.rundir import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.scenario.load.headers import Headers, metadata_of
from trtbench.system.interrupts import signals_wait
from trtbench.telemetry.borders import Border, Borders
from trtbench.telemetry.ticker import ReadingTally, Source, together
from trtbench.telemetry.triton import MetricsPage, Statistics

READY = "ready"
"""The child's first line, when its sources have been started; its second and last is the tallies as JSON."""

_PACKAGE_PARENT = Path(__file__).parents[2]  # the child's working directory: finds this trtbench, and no stray module of the user's
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


class SamplerError(RuntimeError):
    """The sampler's process did not start; the message holds its last words."""


@dataclass(frozen=True)
class SampledServer:
    """One Triton. `metrics_url` and `pid` are None where an external server shows neither."""

    grpc_address: str
    metrics_url: str | None
    pid: int | None


@dataclass(frozen=True)
class SamplerConfig:
    """What is sampled. Of several servers all show their metrics, or none; `balancer_pid` is None where nothing stands before them."""

    servers: tuple[SampledServer, ...]
    model: str
    client_pid: int
    interval_ns: int
    gpu: bool
    tls: Tls | None = None
    balancer_pid: int | None = None
    headers: Headers = field(default_factory=dict)
    engine_model: str | None = None  # whose the engine's metrics are, where it is another than `model`; "": any

    @property
    def server_pids(self) -> list[int]:
        """Of those that are our own."""
        return [server.pid for server in self.servers if server.pid is not None]

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"tls": self.tls and self.tls.model_dump(mode="json"), "headers": self._settings()})

    def _settings(self) -> dict[str, Any]:
        dumped: dict[str, Any] = ClientSettings(headers=self.headers).model_dump(mode="json")["headers"]
        return dumped

    @classmethod
    def from_json(cls, text: str) -> SamplerConfig:
        row = json.loads(text)
        row["headers"] = ClientSettings(headers=row["headers"]).headers
        servers = tuple(SampledServer(**server) for server in row["servers"])
        return cls(**row | {"servers": servers, "tls": row["tls"] and Tls.model_validate(row["tls"])})


def triton_sources(config: SamplerConfig, timeout_s: float) -> dict[str, Callable[[], Source]]:
    """How to open each source that asks Triton, by name."""
    servers, model, tls, engine = config.servers, config.model, config.tls, config.engine_model
    metadata = metadata_of(config.headers)
    sources: dict[str, Callable[[], Source]] = {
        "triton_statistics": lambda: together(
            [Statistics(server.grpc_address, engine or model, timeout_s, tls, metadata) for server in servers]
        )
    }
    if urls := [server.metrics_url for server in servers if server.metrics_url is not None]:
        sources["triton_metrics"] = lambda: together([MetricsPage(url, model, timeout_s, engine) for url in urls])
    return sources


class Sampler:
    """Runs the sampler's process from `__enter__` to `__exit__`; `tallies` then says what became of every source's ticks, and of
    the readings at borders.

    It takes most of a second to start, in which the caller can start others: it samples when `wait_ready` returns.

    The process ends with its parent, however that ends: its stdin closes.
    """

    def __init__(self, config: SamplerConfig, samples_jsonl: Path) -> None:
        self.tallies: dict[str, ReadingTally] = {}
        self._config = config
        self._borders = Borders(partial(triton_sources, config))
        self._samples_jsonl = samples_jsonl.resolve()
        self._ready = False
        self._process: subprocess.Popen[bytes]
        self._last_words: IO[bytes]

    def __enter__(self) -> Sampler:
        with signals_wait():
            self._last_words = tempfile.TemporaryFile()
            self._process = self._start()
        return self

    def wait_ready(self) -> None:
        """Returns when the sampler runs, at once when it does; SamplerError when it does not come up."""
        if self._ready:
            return
        if not self._says_ready(self._process):
            self._process.kill()
            self._process.wait()
            raise SamplerError(f"the sampler's process did not start: {self._read_last_words()}")
        self._ready = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with signals_wait():
            self._end()

    def _end(self) -> None:
        how = "broke off"
        try:
            output, _ = self._process.communicate(timeout=_STOP_TIMEOUT_S)  # closes stdin, which asks it to end
        except subprocess.TimeoutExpired:
            how = "did not end when asked to"
            self._process.kill()
            output, _ = self._process.communicate()
        try:
            last = output.splitlines()[-1]  # after READY where nobody waited for that
            self.tallies = {name: ReadingTally(**tally) for name, tally in json.loads(last).items()}
        except (IndexError, ValueError):
            self.tallies = {"sampler": ReadingTally(failures=1, last_error=f"its process {how}: {self._read_last_words()}")}
        self.tallies |= {f"{name}_at_borders": tally for name, tally in self._borders.tallies.items()}
        self._last_words.close()

    def snapshot(self) -> list[Sample]:
        """Append a reading of Triton's statistics and metrics to the file, and return it."""
        samples = self.read_border().samples
        self.write(samples)
        return samples

    def read_border(self, completed: int = 0) -> Border:
        """As `Borders.read`."""
        return self._borders.read(completed)

    def write(self, samples: Sequence[Sample]) -> None:
        with closing(LineWriter(self._samples_jsonl)) as writer:
            writer.write(*map(sample_row, samples))

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "trtbench.telemetry", self._config.to_json(), str(self._samples_jsonl)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._last_words,
            cwd=_PACKAGE_PARENT,
            env=os.environ | {"GRPC_VERBOSITY": "NONE"},
            start_new_session=True,  # Ctrl-C goes to the foreground process group: not to this one
        )

    def _says_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
        return bool(readable) and process.stdout.readline().decode().strip() == READY

    def _read_last_words(self) -> str:
        """The last line that the process wrote to stderr, or its exit status."""
        self._last_words.seek(0)
        lines = self._last_words.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"exit status {self._process.returncode}")
