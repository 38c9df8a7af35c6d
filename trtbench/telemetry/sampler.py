"""The sampler as the run uses it: a separate process that appends to samples.jsonl, and readings at the borders of stages.

The process is separate because parsing in a process of the load generator would hold its interpreter lock and delay timestamps.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO

from trtbench.rundir.lines import LineWriter, sample_row
from trtbench.rundir.records import Sample
from trtbench.system.interrupts import signals_wait
from trtbench.telemetry.borders import Border, Borders
from trtbench.telemetry.sources import SamplerConfig, border_sources
from trtbench.telemetry.ticker import ReadingTally

READY = "ready"
"""First line of the child's output, when its sources are started. The second and last line has the tallies as JSON."""

_PACKAGE_PARENT = Path(__file__).parents[2]  # working directory of the child, where it imports this trtbench and no module of the user
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


class SamplerError(RuntimeError):
    """The sampler's process did not start; the message has the last line of its stderr."""


class Sampler:
    """Runs the sampler's process from `__enter__` to `__exit__`; `tallies` then has the result of every source's ticks and of the
    readings at borders.

    The process needs most of a second to start, so a caller starts others before it calls `wait_ready`, which returns when it samples.
    The process also ends when its parent is killed, because its stdin closes.
    """

    def __init__(self, config: SamplerConfig, samples_jsonl: Path) -> None:
        self.tallies: dict[str, ReadingTally] = {}
        self._config = config
        self._borders = Borders(partial(border_sources, config))
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
        """Return when the sampler runs; SamplerError when it does not start."""
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
        how = "ended early"
        try:
            output, _ = self._process.communicate(timeout=_STOP_TIMEOUT_S)  # closes stdin, at which the process ends
        except subprocess.TimeoutExpired:
            how = "did not end when asked to"
            self._process.kill()
            output, _ = self._process.communicate()
        try:
            last = output.splitlines()[-1]  # follows READY where the caller did not wait for it
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
