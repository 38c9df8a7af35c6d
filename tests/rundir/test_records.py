from __future__ import annotations

import json
from dataclasses import fields

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from trtbench.rundir.records import EngineCounts, Event, Outcome, RequestRecord, ServerTimes
from trtbench.rundir.schema import REQUEST_SCHEMA

instants = st.integers(0, 2**62)
counts = st.none() | st.integers(0, 2**31 - 1)
engine_counts = st.builds(EngineCounts, counts, counts, counts, counts, counts, counts)
server_times = st.builds(ServerTimes, instants, instants, instants, instants)


@st.composite
def request_records(draw: st.DrawFn) -> RequestRecord:
    """Any record that a run can write."""
    sizes = draw(st.lists(st.integers(1, 5), max_size=6))
    return RequestRecord(
        index=draw(st.integers(0, 10**9)),
        stage=draw(st.text(max_size=20)),
        warmup=draw(st.booleans()),
        prompt=draw(st.integers(0, 10**6)),
        input_tokens=draw(st.integers(1, 10**6)),
        asked_output_tokens=draw(st.integers(1, 10**6)),
        due_ns=draw(instants),
        sent_ns=draw(st.none() | instants),
        done_ns=draw(st.none() | instants),
        token_ns=draw(st.lists(instants, min_size=len(sizes), max_size=len(sizes))),
        token_counts=sizes,
        token_lag_ns=draw(st.just([]) | st.lists(instants, min_size=len(sizes), max_size=len(sizes))),
        output_ids=draw(st.lists(st.integers(0, 2**31 - 1), min_size=sum(sizes), max_size=sum(sizes))),
        coalesced=draw(st.lists(st.integers(0, 5), max_size=6)),
        outcome=draw(st.sampled_from(Outcome)),
        error=draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=50)),
        model_version=draw(st.text("0123456789", max_size=3)),
        server=draw(st.none() | server_times),
        attempts=draw(st.integers(0, 11)),
        planned_cancel=draw(st.booleans()),
        read_with_end=draw(st.booleans()),
        mix=draw(st.text("abc", max_size=5)),
        session=draw(st.none() | st.integers(0, 10**6)),
        turn=draw(st.integers(0, 100)),
        worker=draw(st.integers(0, 63)),
        engine=draw(st.none() | engine_counts),
    )


@given(request_records())
def test_a_record_comes_back_from_json(record: RequestRecord) -> None:
    assert RequestRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@given(st.lists(request_records(), max_size=5))
def test_records_come_back_from_parquets_columns(records: list[RequestRecord]) -> None:
    table = pa.Table.from_pylist([record.to_json() for record in records], schema=REQUEST_SCHEMA)
    assert [RequestRecord.from_json(row) for row in table.to_pylist()] == records


def test_every_field_has_its_column() -> None:
    assert REQUEST_SCHEMA.names == [field.name for field in fields(RequestRecord)]


@given(request_records())
def test_output_tokens_are_counted_from_the_responses(record: RequestRecord) -> None:
    assert record.output_tokens == len(record.output_ids)


def test_outcomes_fall_into_five_classes() -> None:
    """planned = completed + failed (by class) + cancelled + timed out + never sent."""
    assert {outcome for outcome in Outcome if not outcome.is_failure} == {
        Outcome.COMPLETED,
        Outcome.CANCELLED,
        Outcome.TIMEOUT,
        Outcome.NEVER_SENT,
    }
    assert all(Outcome(outcome.value) is outcome for outcome in Outcome)


def test_an_event_is_plain_json() -> None:
    event = Event(5, "stage_started", "default-fp16", {"name": "c1", "asked": 1.0})
    assert Event(**json.loads(json.dumps(event.to_json()))) == event
