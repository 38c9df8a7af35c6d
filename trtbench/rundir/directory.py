"""The run directory: the one thing that crosses from measuring to reporting.

    runs/<UTC time>-<scenario>/
      scenario.yaml  environment.json  events.jsonl  [summary.json report.md report.html plots/]
      <deployment>/  deployment.json engine.json config.pbtxt server.log plan.jsonl
                     requests-<worker>.jsonl -> requests.parquet   samples.jsonl -> samples.parquet
                     client-<worker>.log, where a worker had something to say
      set-aside/<deployment>-<number>/   an unfinished attempt of a run that was resumed: kept, and read by nothing

Lines are appended and flushed as things happen; Parquet replaces them when a deployment ends. A directory whose events lack
`run_finished` is an incomplete run; it reads like any other, a last line cut in half is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile, read_deployment, read_engine
from trtbench.rundir.event_kinds import DeploymentStarted, as_json
from trtbench.rundir.events import is_kind, read_events
from trtbench.rundir.lines import LineWriter, Losses, RunDirectoryError, read_json, read_lines, write_json
from trtbench.rundir.loading import load_requests
from trtbench.rundir.records import FORMAT_VERSION, Environment, Event, RequestRecord
from trtbench.rundir.request_file import RequestFile
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples, read_samples, read_unsealed_samples
from trtbench.rundir.sealing import seal_requests, seal_samples
from trtbench.rundir.sessions import current, is_complete

ENVIRONMENT, DEPLOYMENT_JSON, ENGINE_JSON = "environment.json", "deployment.json", "engine.json"


class DeploymentDirectory:
    """The directory of one engine on one deployment: `<run>/<deployment>/`."""

    def __init__(self, path: Path, losses: Losses | None = None) -> None:
        self.path = path
        self.losses = Losses(path.parent) if losses is None else losses
        self.name = path.name
        self.requests_parquet = path / "requests.parquet"
        self.samples_jsonl = path / "samples.jsonl"
        self.samples_parquet = path / "samples.parquet"
        self.plan_jsonl = path / "plan.jsonl"
        self.server_log = path / "server.log"

    def requests_jsonl(self, worker: int = 0) -> Path:
        """The file to which a worker appends its records."""
        return self.path / f"requests-{worker}.jsonl"

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def write_deployment(self, facts: DeploymentFile) -> None:
        self.write_json(DEPLOYMENT_JSON, as_json(facts))

    def write_engine(self, facts: EngineFile) -> None:
        self.write_json(ENGINE_JSON, as_json(facts))

    def deployment(self) -> DeploymentFile:
        """deployment.json without damaged parts, which `losses` lists. `engine` is read in the same way."""
        return read_deployment(self.path / DEPLOYMENT_JSON, self.losses)

    def engine(self) -> EngineFile:
        return read_engine(self.path / ENGINE_JSON, self.losses)

    def note_missing(self, own: bool) -> None:
        """Note which files a deployment with load should have and lacks. `own`: trtbench started the server."""
        wanted = {self.path / DEPLOYMENT_JSON: False, self.requests_parquet: bool(self._request_files())}
        wanted |= {self.samples_parquet: self.samples_jsonl.exists()} | ({self.path / ENGINE_JSON: False} if own else {})
        for path, has_other in wanted.items():
            if not has_other and not path.exists():
                self.losses.note(path, "missing")

    def columns(self) -> Requests:
        """All requests that can be read; `losses` has what cannot."""
        lines = self._request_files()
        if self.requests_parquet.exists():
            file = RequestFile(self.requests_parquet, self.requests_parquet, self.losses)
            if file.is_readable or not lines:
                return load_requests(file)
        if not lines:
            return load_requests(RequestFile.of_rows((), self.requests_parquet, self.losses))
        return load_requests(RequestFile.of_rows(self._request_rows(self.losses), lines[0], self.losses))

    def requests(self) -> list[RequestRecord]:
        """All requests as records. Records take a hundred times the memory of columns, so this is for few requests."""
        return self.columns().records()

    def samples(self) -> Samples:
        if self.samples_parquet.exists():
            return read_samples(self.samples_parquet, self.losses)
        return read_unsealed_samples(self.samples_jsonl, self.losses)

    def seal(self, revise: Callable[[Any], Any] = lambda row: row) -> None:
        """Replace the JSON lines by Parquet, after `revise` has changed each request. Each file is renamed into place before its lines are
        removed.
        """
        lost = Losses(self.path)
        seal_requests(map(revise, self._request_rows(lost)), self.requests_parquet, lost)
        seal_samples(read_lines(self.samples_jsonl, lost), self.samples_parquet, lost)
        for path in (*self._request_files(), self.samples_jsonl):
            path.unlink(missing_ok=True)

    def _request_files(self) -> list[Path]:
        """The files of requests, one for each worker. Format 1 had a single file."""
        return sorted(self.path.glob("requests*.jsonl"))

    def _request_rows(self, losses: Losses) -> Iterator[Any]:
        return chain.from_iterable(read_lines(path, losses) for path in self._request_files())


class RunDirectory:
    """The directory of a run, `runs/<UTC time>-<scenario>/`, while it is written or when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses = Losses(path)

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make the directory; FileExistsError if it exists."""
        path.mkdir(parents=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A finished or interrupted run; RunDirectoryError if `path` is neither, or has another format."""
        if not (path / ENVIRONMENT).is_file():
            raise RunDirectoryError(f"{path} is not a run directory: it has no {ENVIRONMENT}")
        if (asked := path / "scenario.yaml").exists() and not asked.is_file():
            raise RunDirectoryError(f"{asked} is not a regular file: put the run's own in its place")
        version = _environment(path).get("format_version")
        if type(version) is not int or version not in range(1, FORMAT_VERSION + 1):
            raise RunDirectoryError(f"{path} has format {version}, this trtbench reads 1 to {FORMAT_VERSION}: use the one that wrote it")
        return cls(path)

    def deployment(self, name: str) -> DeploymentDirectory:
        directory = DeploymentDirectory(self.path / name, self.losses)
        directory.path.mkdir(exist_ok=True)
        return directory

    def deployments(self) -> list[DeploymentDirectory]:
        """The deployments in the order in which they were run."""
        names = [event.deployment for event in current(self.events()) if is_kind(event, DeploymentStarted)]
        return [DeploymentDirectory(self.path / name, self.losses) for name in dict.fromkeys(names)]

    def write_environment(self, environment: Environment) -> None:
        write_json(self.path / ENVIRONMENT, {"format_version": FORMAT_VERSION} | asdict(environment))

    def environment(self) -> Environment:
        """The environment of the run; RunDirectoryError if the file holds none."""
        try:
            return TypeAdapter(Environment).validate_python(_environment(self.path))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise RunDirectoryError(f"{self.path / ENVIRONMENT}: {where}: {first['msg']}: the file is damaged") from error

    def append_event(self, event: Event) -> None:
        self._event_lines.write(event.to_json())

    def lock(self) -> None:
        """Lock the run for the lifetime of this process; RunDirectoryError if another process runs it."""
        try:
            self._event_lines.lock()
        except BlockingIOError as error:
            raise RunDirectoryError(f"{self.path} is being run by another process: wait for its end, or end it") from error
        except OSError:
            return  # a file system without locks keeps nobody out, and a run can do without

    @cached_property
    def _event_lines(self) -> LineWriter:
        return LineWriter(self.path / "events.jsonl")

    def events(self) -> list[Event]:
        """The events that can be read; `losses` has those that cannot."""
        return read_events(self.path / "events.jsonl", self.losses)

    def is_complete(self) -> bool:
        return is_complete(self.events())


def _environment(path: Path) -> dict[str, object]:
    try:
        value = read_json(path / ENVIRONMENT)
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path / ENVIRONMENT} cannot be read ({error}): nothing can be said of a run without it") from error
    if not isinstance(value, dict):
        raise RunDirectoryError(f"{path / ENVIRONMENT} is not a JSON object: nothing can be said of a run without it")
    return value
