"""Figures from columns, held against the same figures told plainly, a record at a time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns
from trtbench.analysis.stage.latency import latency
from trtbench.analysis.stage.outcomes import conservation
from trtbench.analysis.stage.sending import sending, users_reached
from trtbench.analysis.stage.throughput import throughput
from trtbench.analysis.stage.timestamps import stamps
from trtbench.analysis.stage.token_counting import with_counts
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir import sealing
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.requests import spread
from trtbench.scenario.load.measurement import Slo

SLO = Slo(ttft_ms=30, itl_ms=20, e2e_latency_ms=120)
MS = 1_000_000


@st.composite
def drawn(draw: st.DrawFn) -> RequestRecord:
    """Any request: failed or not, never sent, never done, without tokens or with responses of several or none, retried, coalesced."""
    due = draw(st.integers(0, 10**9))
    sent = draw(st.none() | st.integers(due, due + 10 * MS))
    outcome = draw(st.sampled_from(Outcome)) if sent is not None else Outcome.NEVER_SENT
    gaps = draw(st.lists(st.integers(0, 40 * MS), max_size=6)) if sent is not None else []
    token_ns = [due + 5 * MS + sum(gaps[: i + 1]) for i in range(len(gaps))]
    silent = draw(st.booleans())
    counts = [0 if silent else draw(st.integers(0, 3)) for _ in gaps]
    stamped = draw(st.booleans())
    return RequestRecord(
        index=draw(st.integers(0, 99)),
        stage="c1",
        warmup=False,
        prompt=draw(st.integers(0, 3)),
        input_tokens=draw(st.integers(1, 99)),
        asked_output_tokens=draw(st.integers(0, 8)),
        due_ns=due,
        sent_ns=sent,
        done_ns=draw(st.none() | st.just((token_ns or [due])[-1] + MS)),
        token_ns=token_ns,
        token_counts=counts,
        token_lag_ns=[draw(st.integers(0, MS)) for _ in gaps] if stamped else [],
        coalesced=draw(st.lists(st.integers(0, 5), max_size=2)) if gaps else [],
        outcome=outcome,
        error=draw(st.sampled_from(["", "full", "gone"])),
        attempts=draw(st.integers(0, 2)),
        planned_cancel=draw(st.booleans()),
        finish_reason=draw(st.sampled_from(["", "length", "stop"])) if silent else "",
        text_tokens=draw(st.none() | st.integers(0, 9)) if silent else None,
    )


records_ = st.lists(drawn(), min_size=1, max_size=12)


def completed(records: list[RequestRecord]) -> list[RequestRecord]:
    return [r for r in records if r.outcome is Outcome.COMPLETED]


@given(records_)
def test_latency_and_stamps(records: list[RequestRecord]) -> None:
    done = completed(records)
    with patch.object(sealing, "_ROWS_PER_BATCH", 2), patch.object(sealing, "_ROWS_PER_GROUP", 3):  # read in several parts
        requests = columns(records)
    found, read = latency(requests), stamps(requests)
    pairs = [(r, i, later - earlier) for r in done for i, (earlier, later) in enumerate(pairwise(r.token_ns), 1)]
    assert found.itl_ns == Distribution.of(gap for *_, gap in pairs)
    assert found.itl_per_token_ns == Distribution.of(gap / r.token_counts[i] for r, i, gap in pairs if r.token_counts[i])
    assert found.ttft_ns == Distribution.of(r.token_ns[0] - r.due_ns for r in done if r.token_ns)
    assert found.tpot_ns == Distribution.of(
        (r.token_ns[-1] - r.token_ns[0]) / (r.output_tokens - 1) for r in done if len(r.token_ns) > 1 and r.output_tokens > 1
    )
    assert found.e2e_latency_from_sent_ns == Distribution.of(
        r.done_ns - r.sent_ns for r in done if r.done_ns is not None and r.sent_ns is not None
    )
    reads = [[at + lag for at, lag in zip(r.token_ns, r.token_lag_ns, strict=True)] for r in done if len(r.token_lag_ns) == len(r.token_ns)]
    assert read.itl_from_read_ns == Distribution.of(later - earlier for one in reads for earlier, later in pairwise(one))
    assert read.lag_ns.count == sum(len(r.token_lag_ns) for r in records)
    exact = [gap for r, i, gap in pairs if not {i - 1, i} & set(r.coalesced)]
    assert read.itl_exact_ns == Distribution.of(exact if any(r.coalesced for r in records) else [])


@given(records_, st.none() | st.floats(0.01, 2))
def test_rates_and_what_became_of_each(records: list[RequestRecord], duration_s: float | None) -> None:
    requests = columns(records)
    equation, rates = conservation(requests, len(records)), throughput(requests, len(records), SLO, duration_s)
    counts = Counter(r.outcome for r in records)
    assert equation.completed == counts[Outcome.COMPLETED] and equation.holds
    assert equation.failed_by_class == {outcome.value: n for outcome, n in sorted(counts.items()) if outcome.is_failure}
    ends = [r.done_ns for r in records if r.done_ns is not None]
    if not ends:
        assert rates.request_throughput is None
        return
    start = min(r.due_ns for r in records)
    in_time = [end for end in ends if duration_s is None or end <= start + round(duration_s * 1e9)] or ends
    close = max(in_time)
    inside = [r for r in completed(records) if r.done_ns is not None and start <= r.done_ns <= close]
    tokens = sum(n for r in records for at, n in zip(r.token_ns, r.token_counts, strict=True) if start <= at <= close)
    if rates.window_s > 0:
        assert rates.completed == len(inside)
        assert rates.output_tokens == (tokens if all(r.counts_tokens for r in records) else 0)
        assert rates.goodput == pytest.approx(sum(map(keeps, inside)) / rates.window_s)


def keeps(record: RequestRecord) -> bool:
    first = record.token_ns[0] - record.due_ns <= 30 * MS if record.token_ns else not record.asked_output_tokens
    gaps = all(later - earlier <= 20 * MS for earlier, later in pairwise(record.token_ns))
    return first and gaps and record.done_ns is not None and record.done_ns - record.due_ns <= 120 * MS


@given(records_)
def test_sending_counting_and_the_level(records: list[RequestRecord]) -> None:
    requests = columns(records)
    lags = [r.sent_ns - r.due_ns for r in records if r.sent_ns is not None and r.attempts <= 1]
    assert sending(requests, False).count == len(lags)
    assert latency(requests).send_lag_ns == Distribution.of(lags)
    counted = with_counts(requests)[0].records()
    for before, after in zip(records, counted, strict=True):
        told = before.finish_reason == "length" and before.outcome is Outcome.COMPLETED
        text = before.text_tokens
        tokens = before.asked_output_tokens if told else None if text is None else min(max(1, text), before.asked_output_tokens)
        as_told = before.token_counts if before.counts_tokens or tokens is None else spread(tokens, len(before.token_ns))
        assert after.token_counts == as_told
    sent = [r for r in records if r.sent_ns is not None]
    assert (users_reached(requests, 4) is None) == (not sent)
