"""The engine's in-flight batching: one thread steps OpenVINO GenAI's pipeline and hands out the tokens of every step."""

import threading
import time
import traceback
from collections import deque
from contextlib import suppress

import openvino as ov
import openvino_genai as genai
import triton_python_backend_utils as pb_utils
from processor import PROPERTIES

CANCEL_POLL_NS = 50_000_000  # asking Triton whether a client has gone costs a message each time
_KV_PRECISION = {"fp16": "f16", "int8": "u8"}
_STATUS = genai.py_openvino_genai.GenerationStatus


class InflightBatcher:
    def __init__(self, settings, gauges, steps, lengths, rests=True):
        """`rests`: the gauges go to 0 when nothing runs. TensorRT-LLM's stay where its last iteration left them."""
        self._rests = rests
        self._pipeline = _load_pipeline(settings)
        self._gauges = gauges
        self._steps = steps
        self._lengths = lengths
        self._max_sequences = int(settings["max_sequences"])
        self._kv_blocks = int(settings["kv_blocks"])
        self._block_tokens = int(settings["block_tokens"])
        self._reuses_blocks = settings["prefix_caching"] == "true"
        self._arrived = deque()
        self._active = {}  # engine request number -> Generation, in order of arrival
        self._next_number = 0
        self._iterations = 0
        self._next_cancel_poll_ns = 0
        self._wake = threading.Event()
        self._closing = False
        self._publish(scheduled=0, context_tokens=0, force=True)
        self._thread = threading.Thread(target=self._run, name="inflight-batcher")
        self._thread.start()

    def submit(self, generation):
        self._arrived.append(generation)
        self._wake.set()

    def close(self):
        """Finish what is active, then end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self):
        while True:
            if not self._active and not self._arrived:
                if self._closing:
                    return
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._admit()
                self._drop_cancelled()
                self._step()
            except Exception as error:  # whatever it is: were this thread to end, all requests would wait for ever
                traceback.print_exc()
                self._fail_all(error)

    def _admit(self):
        """Keep the bound on the running batch ourselves: with chunked prefill the engine does not look at max_num_seqs."""
        while self._arrived and len(self._active) < self._max_sequences:
            generation = self._arrived.popleft()
            if generation.is_cancelled():
                generation.send_cancelled()
                continue
            number, self._next_number = self._next_number, self._next_number + 1
            tensor = ov.Tensor(generation.input_ids.reshape(1, -1))
            try:
                generation.handle = self._pipeline.add_request(number, tensor, generation.config)
            except RuntimeError as error:
                generation.send_error(f"The engine refused the request: {error}", pb_utils.TritonError.INVALID_ARG)
            else:
                self._active[number] = generation

    def _drop_cancelled(self):
        now_ns = time.monotonic_ns()
        if now_ns < self._next_cancel_poll_ns:
            return
        self._next_cancel_poll_ns = now_ns + CANCEL_POLL_NS
        for number, generation in list(self._active.items()):
            if generation.is_cancelled():
                generation.handle.cancel()  # the engine frees its KV blocks in the next step
                generation.send_cancelled()
                del self._active[number]

    def _step(self):
        start_ns = time.monotonic_ns()
        self._pipeline.step()
        end_ns = time.monotonic_ns()
        self._iterations += 1
        scheduled = self._pipeline.get_metrics().scheduled_requests
        self._mark_scheduled(scheduled, start_ns)
        answers = self._read_answers()
        self._steps.count(scheduled, sum(len(token_ids) for _, token_ids, _ in answers.values()))
        if any(status != _STATUS.RUNNING for *_, status in answers.values()):
            self._steps.publish()  # before the answers leave: whoever waits for the last one then finds every step counted
        context_tokens = self._send_answers(answers, end_ns)
        if self._rests and not self._active:
            self._pipeline.step()  # an empty step: only then does the engine count the blocks it has freed
            scheduled = 0
        self._publish(scheduled, context_tokens, force=not self._active)

    def _mark_scheduled(self, scheduled, start_ns):
        """The engine schedules first come, first served, so the first `scheduled` active requests were in this step."""
        for generation, _ in zip(self._active.values(), range(scheduled)):  # noqa: B905
            generation.first_scheduled_ns = generation.first_scheduled_ns or start_ns

    def _read_answers(self):
        """What the step made: request number -> (generation, new token ids, status), of those that it made anything of."""
        answers = {}
        for number, generation in self._active.items():
            handle = generation.handle
            if not handle.can_read() and handle.get_status() == _STATUS.RUNNING:
                continue
            token_ids = []
            while handle.can_read():
                for output in handle.read().values():  # one sequence; none where the engine gives the request up
                    token_ids += output.generated_ids
            answers[number] = generation, token_ids, handle.get_status()
        return answers

    def _send_answers(self, answers, end_ns):
        """Returns the prompt tokens of the requests whose prefill the step ended."""
        context_tokens = 0
        for number, (generation, token_ids, status) in answers.items():
            if token_ids:
                context_tokens += 0 if generation.first_token_ns else len(generation.input_ids)
                generation.send_tokens(token_ids, end_ns, final=status == _STATUS.FINISHED)
            elif status == _STATUS.FINISHED:
                generation.send_end()
            if status == _STATUS.IGNORED:
                generation.send_error("No free blocks left in the KV cache for this request.", pb_utils.TritonError.UNAVAILABLE)
            if status == _STATUS.FINISHED:
                self._lengths.ended(len(generation.input_ids), generation.output_tokens)
            if status != _STATUS.RUNNING:
                del self._active[number]
        return context_tokens

    def _fail_all(self, error):
        while self._active:
            _, generation = self._active.popitem()
            generation.handle.cancel()
            with suppress(pb_utils.TritonModelException):  # its stream may have had its end
                generation.send_error(f"Engine step failed: {error}", pb_utils.TritonError.INTERNAL)

    def _publish(self, scheduled, context_tokens, force):
        if not force and not self._gauges.due():
            return
        metrics = self._pipeline.get_metrics()
        used = round(metrics.cache_usage / 100 * self._kv_blocks)
        active = max(len(self._active) + len(self._arrived), scheduled)
        generating = sum(1 for generation in self._active.values() if generation.first_token_ns)
        values = {
            "active": active,
            "scheduled": scheduled,
            "waiting": max(0, active - scheduled),
            "context": max(0, scheduled - generating),
            "max": self._max_sequences,
            "kv_max": self._kv_blocks,
            "kv_used": used,
            "kv_free": self._kv_blocks - used,
            "kv_tokens_per": self._block_tokens,
            "kv_fraction": used / self._kv_blocks,
            "memory_cpu": metrics.kv_cache_size_in_bytes,
            "context_tokens": context_tokens,
            "generation_requests": min(scheduled, generating),
            "paused_requests": max(0, generating - scheduled),
            "iterations": self._iterations,
            "timestamp": time.time_ns() // 1000,  # the backend's is in microseconds too
            "memory_gpu": 0,
            "memory_pinned": 0,
            "micro_batch_id": 0,
        }
        if not self._reuses_blocks:
            values["kv_reused"] = 0  # with prefix caching the engine does not say how many: then the series is absent
        self._gauges.publish(values)
        self._steps.publish()
        self._lengths.publish()


def _load_pipeline(settings):
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = int(settings["kv_blocks"])
    scheduler.max_num_seqs = int(settings["max_sequences"])
    scheduler.max_num_batched_tokens = int(settings["max_tokens_per_step"])
    scheduler.dynamic_split_fuse = settings["chunked_prefill"] == "true"
    scheduler.enable_prefix_caching = settings["prefix_caching"] == "true"
    properties = PROPERTIES | {
        "KV_CACHE_PRECISION": _KV_PRECISION[settings["kv_dtype"]],
        "INFERENCE_NUM_THREADS": int(settings["inference_threads"]),
    }
    return genai.ContinuousBatchingPipeline(settings["engine_dir"], scheduler, "CPU", properties)
