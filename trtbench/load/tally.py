"""The account of a load: Tally gives every planned request of a phase exactly one record, Recorder appends records to a file away from the
event loop, and LoadProgress has the counts that a running load shows.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from trtbench.load.error_streak import ErrorStreak
from trtbench.load.share import Share, planned_units
from trtbench.plan.plan import Phase
from trtbench.rundir.latency_limits import FinishedRequest, LatencyLimit, broken_limits
from trtbench.rundir.lines import LineWriter
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

_PERIOD_S = 0.1


class Recorder:
    """Writes records in its own thread every 100 ms, so that a slow disk does not delay the load. A kill loses what is not written yet.

    The thread wakes by a timer: waking it for each record would cost the event loop more than everything else that a record costs.
    """

    def __init__(self, path: Path) -> None:
        self._writer = LineWriter(path)
        self._waiting: deque[RequestRecord] = deque()
        self._closing = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def append(self, record: RequestRecord) -> None:
        """Hand over a record that does not change any more. OSError if an earlier record could not be written, as on a full disk."""
        if self._error:
            raise self._error
        self._waiting.append(record)

    def close(self) -> None:
        """Wait until all records are in the file; OSError if one could not be written."""
        self._closing.set()
        self._thread.join()
        self._writer.close()
        if self._error:
            raise self._error

    def _write(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        # One record a write: the interpreter's lock is free between two writes, so the event loop waits for one at most.
        while self._waiting:
            record = self._waiting.popleft()
            if self._error is None:
                try:
                    self._writer.write(record.to_json())
                except OSError as error:
                    self._error = error


@dataclass(slots=True)
class Counts:
    """The requests of one phase so far. `failed` are all that ended, except completed ones and those that the plan cancels."""

    sent: int = 0
    in_flight: int = 0
    completed: int = 0
    failed: int = 0
    output_tokens: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__slots__))


@dataclass(slots=True)
class LoadProgress:
    """The running phase and its counts, for a display. `planned` is None for a closed loop that runs until `ends_ns`.

    `finished` collects the requests that are over until `take_finished`, judged by `limits`, or is None if nothing reads them; those that
    the plan cancels are left out. `due_ns` has the due times of those in flight, in the order in which they began, if `finished` is kept.
    """

    stage: str = ""
    warmup: bool = False
    planned: int | None = None
    starts_ns: int = 0
    ends_ns: int | None = None
    counts: Counts = field(default_factory=Counts)
    finished: list[FinishedRequest] | None = None
    streak: ErrorStreak = field(default_factory=ErrorStreak)
    limits: tuple[LatencyLimit, ...] = ()
    due_ns: dict[int, int] = field(default_factory=dict)

    def begin(self, stage: str, warmup: bool, planned: int | None, starts_ns: int, ends_ns: int | None) -> None:
        """Begin a phase, with all counts at zero."""
        self.stage, self.warmup, self.planned, self.starts_ns, self.ends_ns = stage, warmup, planned, starts_ns, ends_ns
        self.counts = Counts()
        self.due_ns = {}

    def count_sent(self, record: RequestRecord) -> None:
        self.counts.sent += 1
        self.counts.in_flight += 1
        if self.finished is not None:
            self.due_ns[id(record)] = record.due_ns

    def count_done(self, record: RequestRecord) -> None:
        counts = self.counts
        counts.in_flight -= 1
        counts.output_tokens += record.output_tokens
        as_planned = record.outcome is Outcome.COMPLETED or (record.planned_cancel and record.outcome is Outcome.CANCELLED)
        self.streak.add(failed=not as_planned)
        if record.outcome is Outcome.COMPLETED:
            counts.completed += 1
        elif not as_planned:
            counts.failed += 1
        if self.finished is not None:
            self.due_ns.pop(id(record), None)
            if record.outcome is Outcome.COMPLETED or not as_planned:
                self.finished.append((record.due_ns, record.done_ns or now_ns(), broken_limits(record, self.limits)))

    def take_finished(self) -> list[FinishedRequest]:
        finished = self.finished or []
        self.finished = None if self.finished is None else []
        return finished

    @property
    def over_until_ns(self) -> int:
        """Every request that was due before this instant and has begun is over."""
        return min(self.due_ns.values(), default=now_ns())


_SESSION_BROKEN = "an earlier turn of its session did not complete"


class Tally:
    """The records of one worker's share of a phase. Each request is begun and finished; what was not begun is given up in the end."""

    def __init__(self, phase: Phase, share: Share, worker: int, recorder: Recorder, progress: LoadProgress) -> None:
        self._phase, self._share, self._worker = phase, share, worker
        self._recorder, self._progress = recorder, progress
        self._begun = bytearray(phase.requests or 0) if phase.planned is not None else None
        self.written = self.completed = self.cancelled_as_planned = 0

    def begin(self, unit: int, turn: int, due_ns: int, context_tokens: int = 0) -> RequestRecord:
        record = self._record(unit, turn, due_ns, context_tokens)
        if self._begun is not None:
            self._begun[record.index] = True
        self._progress.count_sent(record)
        return record

    def finish(self, record: RequestRecord) -> None:
        """Write the record of a request that is over. The record must not change any more."""
        self._progress.count_done(record)
        self._write(record)

    def break_off(self, unit: int, turn: int, due_ns: int) -> None:
        """Write the turns of a session from `turn` on, which are not sent because the turn before did not complete."""
        for later in range(turn, len(self._phase.units[unit % len(self._phase.units)])):
            record = self._record(unit, later, due_ns, 0)
            record.error = _SESSION_BROKEN
            if self._begun is not None:
                self._begun[record.index] = True
            self._write(record)

    def give_up(self, start_ns: int) -> None:
        """Write every planned request that was not begun, as never sent. It was due at its own instant; in a closed loop, now."""
        if self._begun is None:
            return
        offsets, units = self._phase.due_offsets_ns, self._phase.units
        for unit in self._share.of_range(planned_units(self._phase) or 0):
            due_ns = now_ns() if offsets is None else start_ns + int(offsets[unit])
            for turn in range(len(units[unit % len(units)])):
                record = self._record(unit, turn, due_ns, 0)
                if not self._begun[record.index]:
                    self._write(record)

    def _write(self, record: RequestRecord) -> None:
        self.written += 1
        self.completed += record.outcome is Outcome.COMPLETED
        self.cancelled_as_planned += record.planned_cancel and record.outcome is Outcome.CANCELLED
        self._recorder.append(record)

    def _record(self, unit: int, turn: int, due_ns: int, context_tokens: int) -> RequestRecord:
        phase = self._phase
        cycle, number = divmod(unit, len(phase.units))
        position = phase.units[number].start + turn
        prompt = phase.prompts[position]
        return RequestRecord(
            index=cycle * len(phase.prompts) + position,
            stage=phase.stage.label,
            warmup=phase.warmup,
            prompt=phase.first_prompt + position,
            input_tokens=context_tokens + len(prompt.input_ids),
            asked_output_tokens=prompt.output_tokens,
            due_ns=due_ns,
            planned_cancel=prompt.cancel_after_tokens is not None or prompt.cancel_after_ns is not None,
            mix=prompt.mix,
            session=prompt.session,
            turn=prompt.turn,
            worker=self._worker,
            row=prompt.tensors.number if prompt.tensors else None,
        )
