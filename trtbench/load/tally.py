"""Tally: every planned request of a phase gets exactly one record. Recorder: appends records to a file away from the event loop."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from trtbench.load.progress import LoadProgress
from trtbench.load.share import Share, planned_units
from trtbench.plan.plan import Phase
from trtbench.rundir import LineWriter
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

_PERIOD_S = 0.1


class Recorder:
    """Writes what it was given on a thread, every 100 ms: a slow disk does not hold up the load, a kill loses at most what waits.

    The thread looks by itself: to wake it for each record would cost the event loop more than all else that a record does.
    """

    def __init__(self, path: Path) -> None:
        self._writer = LineWriter(path)
        self._waiting: deque[RequestRecord] = deque()
        self._closing = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def append(self, record: RequestRecord) -> None:
        """Hand over a record that nobody changes any more. OSError when an earlier one could not be written (a full disk)."""
        if self._error:
            raise self._error
        self._waiting.append(record)

    def close(self) -> None:
        """Wait until everything is on file; OSError when something is not."""
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
        # One record a write: the interpreter's lock is let go between two, so the event loop waits for one at most.
        while self._waiting:
            record = self._waiting.popleft()
            if self._error is None:
                try:
                    self._writer.write(record.to_json())
                except OSError as error:
                    self._error = error


_SESSION_BROKEN = "an earlier turn of its session did not complete"


class Tally:
    """One share of one phase. A request is begun, then finished; what was planned and not begun is given up in the end."""

    def __init__(self, phase: Phase, share: Share, worker: int, recorder: Recorder, progress: LoadProgress) -> None:
        self._phase, self._share, self._worker = phase, share, worker
        self._recorder, self._progress = recorder, progress
        self._begun = bytearray(phase.requests or 0) if phase.planned is not None else None
        self.written = self.completed = self.cancelled_as_planned = 0

    def begin(self, unit: int, turn: int, due_ns: int, context_tokens: int = 0) -> RequestRecord:
        record = self._record(unit, turn, due_ns, context_tokens)
        if self._begun is not None:
            self._begun[record.index] = True
        self._progress.count_sent()
        return record

    def finish(self, record: RequestRecord) -> None:
        """Of a request that was begun and is over; nobody may change the record any more."""
        self._progress.count_done(record)
        self._write(record)

    def break_off(self, unit: int, turn: int, due_ns: int) -> None:
        """The turns of a session from `turn` on will not be sent because the one before did not complete."""
        for later in range(turn, len(self._phase.units[unit % len(self._phase.units)])):
            record = self._record(unit, later, due_ns, 0)
            record.error = _SESSION_BROKEN
            if self._begun is not None:
                self._begun[record.index] = True
            self._write(record)

    def give_up(self, start_ns: int) -> None:
        """Write everything planned that was not begun: never sent, due at its own instant, in a closed loop now."""
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
        )
