"""Triton Python model: responses at known instants, each with the instant at which it was handed to Triton.

A request's `input_ids` begin with its schedule: the first response is due so many microseconds after arrival, each further one so many
after the one before, `request_output_len` in all. `output_ids` of a response are four numbers: its index, how many microseconds late
it left, and its instant (CLOCK_MONOTONIC, ns) as the high and the low 31 bits. trtbench/self_test/stamp.py reads them.
"""

import heapq
import itertools
import threading
import time

import triton_python_backend_utils as pb_utils
from response import Response, integers

_BITS = 31
_LOW = (1 << _BITS) - 1
_REFUSAL = (
    "input_ids must begin with two delays in microseconds, of the first response and between any two; request_output_len be at least 1."
)


class TritonPythonModel:
    def initialize(self, args):
        self._arrived = threading.Condition()
        self._due = []  # heap of (due_ns, serial number, Answer)
        self._numbers = itertools.count()
        self._closing = False
        self._response = Response()
        self._thread = threading.Thread(target=self._run, name="schedule")
        self._thread.start()

    def execute(self, requests):
        arrival_ns = time.monotonic_ns()
        for request in requests:
            sender = request.get_response_sender()
            ids, count = integers(request, "input_ids"), integers(request, "request_output_len")[0]
            if len(ids) < 2 or min(ids[:2]) < 0 or count < 1:
                error = pb_utils.TritonError(_REFUSAL, pb_utils.TritonError.INVALID_ARG)
                sender.send(pb_utils.InferenceResponse(error=error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                continue
            self._schedule(Answer(sender, arrival_ns, ids[0] * 1000, ids[1] * 1000, count))

    def finalize(self):
        with self._arrived:
            self._closing = True
            self._arrived.notify()
        self._thread.join()

    def _schedule(self, answer):
        with self._arrived:
            heapq.heappush(self._due, (answer.due_ns, next(self._numbers), answer))
            self._arrived.notify()

    def _run(self):
        while True:
            with self._arrived:
                wait_s = self._wait_s()
                if self._closing:
                    return
                if wait_s != 0:
                    self._arrived.wait(wait_s)
                    continue
                answer = heapq.heappop(self._due)[2]
            self._send(answer)
            if answer.index < answer.count:
                self._schedule(answer)

    def _wait_s(self):
        """Until the next response is due; 0 when it is, None when there is none."""
        return max(self._due[0][0] - time.monotonic_ns(), 0) / 1e9 if self._due else None

    def _send(self, answer):
        is_last = answer.index == answer.count - 1
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if is_last else 0
        response = self._response.prepare()
        now_ns = time.monotonic_ns()
        late_us = min((now_ns - answer.due_ns) // 1000, _LOW)
        self._response.ids[:] = (answer.index, late_us, now_ns >> _BITS, now_ns & _LOW)
        answer.sender.send(response, flags=flags)
        answer.index += 1
        answer.due_ns += answer.gap_ns


class Answer:
    """One request on its way: `index` is the next response's, `due_ns` its instant."""

    def __init__(self, sender, arrival_ns, first_ns, gap_ns, count):
        self.sender = sender
        self.due_ns = arrival_ns + first_ns
        self.gap_ns = gap_ns
        self.count = count
        self.index = 0
