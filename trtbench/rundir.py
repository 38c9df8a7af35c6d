"""The run directory: the one thing that crosses from measuring to reporting.

    runs/<UTC time>-<scenario>/
      scenario.yaml  environment.json  events.jsonl  [summary.json report.md report.html plots/]
      <deployment>/  deployment.json engine.json config.pbtxt server.log plan.jsonl
                     requests-<worker>.jsonl -> requests.parquet   samples.jsonl -> samples.parquet
                     client-<worker>.log, where a worker had something to say
      set-aside/<deployment>-<number>/   an attempt that was broken off, of a run that was resumed: kept, and read by nothing

Lines are appended and flushed as things happen; Parquet replaces them when a deployment ends. A directory whose events lack
`run_finished` is an incomplete run; it reads like any other, a last line cut in half is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trtbench.errors import UserError
from trtbench.history import current, is_complete
from trtbench.records import FORMAT_VERSION, EngineCounts, Environment, Event, RequestRecord, Sample

_ROWS_PER_GROUP = 20_000  # what is in memory at once while Parquet replaces JSON lines

_NS = pa.int64()
_REQUEST_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("stage", pa.string()),
        ("warmup", pa.bool_()),
        ("prompt", pa.int64()),
        ("input_tokens", pa.int64()),
        ("asked_output_tokens", pa.int64()),
        ("due_ns", _NS),
        ("sent_ns", _NS),
        ("done_ns", _NS),
        ("token_ns", pa.list_(_NS)),
        ("token_lag_ns", pa.list_(_NS)),
        ("token_counts", pa.list_(pa.int32())),
        ("output_ids", pa.list_(pa.int32())),
        ("coalesced", pa.list_(pa.int32())),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("model_version", pa.string()),
        ("server", pa.struct([(n, _NS) for n in ("arrival_ns", "first_scheduled_ns", "first_token_ns", "last_token_ns")])),
        ("attempts", pa.int32()),
        ("planned_cancel", pa.bool_()),
        ("mix", pa.string()),
        ("session", pa.int64()),
        ("turn", pa.int32()),
        ("worker", pa.int32()),
        ("embedding", pa.list_(pa.float32())),
        ("done_lag_ns", _NS),
        ("echoed_tokens", pa.int32()),
        *((name, pa.string()) for name in ("finish_reason", "output_text")),
        ("text_tokens", pa.int32()),
        ("engine", pa.struct([(name, pa.int64()) for name in EngineCounts.__slots__])),
    ]
)
_SAMPLE_SCHEMA = pa.schema([("time_ns", _NS), ("name", pa.string()), ("label", pa.string()), ("value", pa.float64())])


class RunDirectoryError(UserError):
    """Not a run directory, or of a format this version cannot read."""


class LineWriter:
    """Appends JSON lines, each in one write: processes may share a file, and a kill loses at most the line being written."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *rows: Any) -> None:
        os.write(self._fd, "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode())

    def lock(self) -> None:
        """Until this process ends or closes it; BlockingIOError where another holds it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        os.close(self._fd)


def read_lines(path: Path) -> Iterator[Any]:
    """The JSON values of a JSON-lines file; none if there is no file; a torn last line is dropped."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def sample_row(sample: Sample) -> list[Any]:
    """A sample as its line in samples.jsonl: [time_ns, name, label, value]."""
    return [sample.time_ns, sample.name, sample.label, sample.value]


class DeploymentDirectory:
    """One engine on one deployment: `<run>/<deployment>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.requests_parquet = path / "requests.parquet"
        self.samples_jsonl = path / "samples.jsonl"
        self.samples_parquet = path / "samples.parquet"
        self.plan_jsonl = path / "plan.jsonl"
        self.server_log = path / "server.log"

    def requests_jsonl(self, worker: int = 0) -> Path:
        """Where a worker appends its records."""
        return self.path / f"requests-{worker}.jsonl"

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        return read_json(self.path / name)

    def requests(self) -> list[RequestRecord]:
        if self.requests_parquet.exists():
            return [RequestRecord.from_json(row) for row in pq.read_table(self.requests_parquet).to_pylist()]
        return [RequestRecord.from_json(row) for row in self._request_rows()]

    def samples(self) -> Samples:
        if self.samples_parquet.exists():
            table = pq.read_table(self.samples_parquet)
        else:
            table = pa.Table.from_pylist(list(_sample_rows(self.samples_jsonl)), schema=_SAMPLE_SCHEMA)
        return Samples(table)

    def seal(self, revise: Callable[[Any], Any] = lambda row: row) -> None:
        """Replace the JSON lines by Parquet, each request's revised; each file is renamed into place before its lines go."""
        _to_parquet(map(revise, self._request_rows()), _REQUEST_SCHEMA, self.requests_parquet)
        _to_parquet(_sample_rows(self.samples_jsonl), _SAMPLE_SCHEMA, self.samples_parquet)
        for path in (*self._request_files(), self.samples_jsonl):
            path.unlink(missing_ok=True)

    def _request_files(self) -> list[Path]:
        """One a worker; format 1 had one in all."""
        return sorted(self.path.glob("requests*.jsonl"))

    def _request_rows(self) -> Iterator[Any]:
        return chain.from_iterable(map(read_lines, self._request_files()))


class Samples:
    """Every sample of a deployment, as one pair of arrays a series."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @cached_property
    def _by_series(self) -> dict[tuple[str, str], Series]:
        frame = self._table.to_pandas().sort_values("time_ns", kind="stable")
        groups = frame.groupby(["name", "label"], sort=False)
        return {key: (rows["time_ns"].to_numpy(np.int64), rows["value"].to_numpy(np.float64)) for key, rows in groups}

    def series(self, name: str, label: str = "") -> Series:
        """(time_ns, value), both of shape [n] and in time order; n = 0 for a series that was never sampled."""
        return self._by_series.get((name, label), (np.empty(0, np.int64), np.empty(0, np.float64)))

    def labels(self, name: str) -> list[str]:
        return sorted(label for other, label in self._by_series if other == name)

    def without(self, names: Sequence[str], times_ns: npt.NDArray[np.int64]) -> Samples:
        """All but the readings of these series at these instants."""
        if not len(times_ns):
            return self
        named = pc.is_in(self._table["name"], pa.array(names, pa.string()))
        then = pc.is_in(self._table["time_ns"], pa.array(times_ns, _NS))
        return Samples(self._table.filter(pc.invert(pc.and_(named, then))))

    def names(self) -> list[str]:
        return sorted({name for name, _ in self._by_series})


Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class RunDirectory:
    """`runs/<UTC time>-<scenario>/`, being written or read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make the directory; FileExistsError if it is there."""
        path.mkdir(parents=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A finished or broken-off run; RunDirectoryError when `path` is neither or is of another format."""
        if not (path / "environment.json").is_file():
            raise RunDirectoryError(f"{path} is not a run directory: it has no environment.json")
        version = read_json(path / "environment.json").get("format_version")
        if version not in range(1, FORMAT_VERSION + 1):
            raise RunDirectoryError(f"{path} has format {version}, this trtbench reads 1 to {FORMAT_VERSION}: use the one that wrote it")
        return cls(path)

    def deployment(self, name: str) -> DeploymentDirectory:
        directory = DeploymentDirectory(self.path / name)
        directory.path.mkdir(exist_ok=True)
        return directory

    def deployments(self) -> list[DeploymentDirectory]:
        """In the order in which they were run."""
        names = [event.deployment for event in current(self.events()) if event.kind == "deployment_started"]
        return [DeploymentDirectory(self.path / name) for name in dict.fromkeys(names)]

    def write_environment(self, environment: Environment) -> None:
        write_json(self.path / "environment.json", {"format_version": FORMAT_VERSION} | asdict(environment))

    def environment(self) -> Environment:
        row = read_json(self.path / "environment.json")
        del row["format_version"]
        return Environment(**row)

    def append_event(self, event: Event) -> None:
        self._event_lines.write(event.to_json())

    def lock(self) -> None:
        """Keep the run for this process as long as it lives; RunDirectoryError where another one runs it."""
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
        return [Event(**row) for row in read_lines(self.path / "events.jsonl")]

    def is_complete(self) -> bool:
        return is_complete(self.events())


def write_json(path: Path, value: Any) -> None:
    """Write and rename, so that a reader sees the whole file or none."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _sample_rows(path: Path) -> Iterator[dict[str, Any]]:
    return (dict(zip(_SAMPLE_SCHEMA.names, row, strict=True)) for row in read_lines(path))


def _to_parquet(rows: Iterator[Any], schema: pa.Schema, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    with pq.ParquetWriter(temporary, schema) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    temporary.replace(path)
