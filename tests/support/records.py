"""Requests and samples for tests that need no run directory, and the columns that analysis takes of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from trtbench.rundir.lines import Losses
from trtbench.rundir.loading import load_requests
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.request_file import RequestFile
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples

MS = 1_000_000
S = 1000 * MS


def samples_of(series: dict[tuple[str, str], list[tuple[int, float]]]) -> Samples:
    """Samples from {(name, label): [(time_ns, value)]}."""
    columns = [(time_ns, name, label, float(value)) for (name, label), points in series.items() for time_ns, value in points]
    names = ("time_ns", "name", "label", "value")
    types = (pa.int64(), pa.string(), pa.string(), pa.float64())
    return Samples(pa.table({n: pa.array([row[i] for row in columns], t) for i, (n, t) in enumerate(zip(names, types, strict=True))}))


def request_of(due_ns: int, token_ns: list[int], outcome: Outcome = Outcome.COMPLETED, **more: Any) -> RequestRecord:
    """A request sent when due, with one token a response and done with the last."""
    facts: dict[str, Any] = {
        "index": 0,
        "stage": "c1",
        "warmup": False,
        "prompt": 0,
        "input_tokens": 10,
        "asked_output_tokens": len(token_ns),
        "sent_ns": due_ns,
        "done_ns": token_ns[-1] if token_ns else due_ns,
        "token_counts": [1] * len(token_ns),
    }
    return RequestRecord(due_ns=due_ns, token_ns=token_ns, outcome=outcome, **facts | more)


def columns(records: Iterable[RequestRecord]) -> Requests:
    """The way of requests that are not sealed yet; none may be lost on it."""
    losses = Losses(Path())
    requests = load_requests(RequestFile.of_rows((record.to_json() for record in records), Path("requests-0.jsonl"), losses))
    assert list(losses) == []
    return requests
