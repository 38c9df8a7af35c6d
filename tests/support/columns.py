"""Records as the columns that analysis takes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trtbench.rundir import Losses, Requests
from trtbench.rundir.loading import load_requests
from trtbench.rundir.records import RequestRecord
from trtbench.rundir.request_file import RequestFile


def columns(records: Iterable[RequestRecord]) -> Requests:
    """The way of requests that are not sealed yet; none may be lost on it."""
    losses = Losses(Path())
    requests = load_requests(RequestFile.of_rows((record.to_json() for record in records), Path("requests-0.jsonl"), losses))
    assert list(losses) == []
    return requests
