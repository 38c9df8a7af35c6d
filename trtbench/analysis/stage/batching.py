"""The two batchers of a stage: Triton's, by which requests enter the model, and the engine's in-flight batch, which executes together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from trtbench.analysis.facts import NO_FIGURE
from trtbench.analysis.stats.window import Level, border_readings, increase, inside, rise
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples
from trtbench.rundir.series import SeriesName

_COMPUTE: tuple[SeriesName, ...] = ("triton_compute_input_ns", "triton_compute_infer_ns", "triton_compute_output_ns")


@dataclass(frozen=True, slots=True)
class TritonBatching:
    """Triton's batcher during a stage, from the increase of Triton's statistics. `histogram` maps batch size to executions.

    TensorRT-LLM's C++ backend reports every request as a batch of one. With that backend only `inflight` describes the batching.
    """

    histogram: dict[int, int]
    inferences: int
    executions: int
    batch_hit_ratio: float | None  # inferences in a batch of several requests / all
    mean_batch: float | None  # inferences / executions
    fill_ratio: float | None  # mean batch / max_batch_size
    queue_mean_ns: int | None  # in Triton's own queue, per successful request that the response cache did not answer
    compute_mean_ns: int | None = None  # of the execution a request was in, its input and output too; None where the model is decoupled
    copy_ratio: float | None = field(default=None, metadata=NO_FIGURE)  # compute_input and compute_output / all time in the model


@dataclass(frozen=True, slots=True)
class InflightBatching:
    """The engine's running batch, counted per step. `steps` maps the number of requests scheduled in a step to the number of such steps.

    `exact`: the engine counted every step and token, as the CPU engine does. Otherwise the steps are those at which the gauge was sampled,
    and each reading represents the steps since the previous reading if the engine counts its iterations (TensorRT-LLM); `in_company_ratio`
    is then a ratio of scheduled requests instead of tokens. `histogram` (size to readings), `batched_ratio` (readings with two or more
    requests), `running` and `waiting` are always sampled.
    """

    histogram: dict[int, int]
    batched_ratio: float
    exact: bool
    steps: dict[int, int]
    mean_batch: float | None  # scheduled requests / steps
    seen_batch: float | None  # the batch that a scheduled request finds itself in: sum(size^2 steps) / sum(size steps)
    in_company_ratio: float | None  # tokens made in steps of 2 or more requests / all
    running: Level
    waiting: Level | None
    limit: int | None  # most that the engine would run together
    paused: Level | None = field(default=None, metadata=NO_FIGURE)  # requests that lost their KV blocks and wait to begin again

    @property
    def request_shares(self) -> dict[int, float]:
        """The share of scheduled requests that ran in steps of each size: the histogram of steps weighted by requests."""
        total = sum(size * count for size, count in self.steps.items())
        return {size: size * count / total for size, count in self.steps.items()} if total else {}


def triton_batching(
    samples: Samples, start_ns: int, end_ns: int, max_batch_size: int | None, unary: bool = False, items: int = 1
) -> TritonBatching | None:
    """Figures of Triton's batcher for a stage, or None if Triton's statistics were not read at the start of the stage.

    `unary`: the model answers within its execution. The execution of a decoupled model ends before its answers, so its duration has no
    meaning. `items`: the inferences of one request, so that a larger batch is one of several requests.
    """
    borders = border_readings(samples.series("triton_inference_count"), start_ns, end_ns)
    if borders is None:
        return None
    inferences = rise(samples.series("triton_inference_count"), *borders)
    executions = rise(samples.series("triton_execution_count"), *borders)
    sizes = {
        int(label): round(rise(samples.series("triton_batch_executions", label), *borders))
        for label in sorted(samples.labels("triton_batch_executions"), key=int)
    }
    histogram = {size: count for size, count in sizes.items() if count}
    counted = sum(size * count for size, count in histogram.items())
    batched = sum(size * count for size, count in histogram.items() if size > items)
    mean = inferences / executions if executions else None
    return TritonBatching(
        histogram=histogram,
        inferences=round(inferences),
        executions=round(executions),
        batch_hit_ratio=batched / counted if counted else None,
        mean_batch=mean,
        fill_ratio=mean / max_batch_size if mean is not None and max_batch_size else None,
        queue_mean_ns=_mean_ns(samples, start_ns, end_ns, "triton_queue_ns"),
        compute_mean_ns=_mean_ns(samples, start_ns, end_ns, *_COMPUTE) if unary else None,
        copy_ratio=_copy_ratio(samples, start_ns, end_ns),
    )


def inflight_batching(samples: Samples, start_ns: int, end_ns: int) -> InflightBatching | None:
    """The engine's batch in the window, or None if the window has no readings of it."""
    scheduled = inside(samples.series("inflight_scheduled_requests"), start_ns, end_ns)
    running = Level.of(scheduled)
    if running is None:
        return None
    counted = _counted_steps(samples, start_ns, end_ns)
    steps = _sampled_steps(samples, start_ns, end_ns) if counted is None else counted
    requests = sum(size * count for size, count in steps.items())
    together = sum(size * count for size, count in steps.items() if size >= 2)
    limit = Level.of(inside(samples.series("inflight_max_requests"), start_ns, end_ns))
    return InflightBatching(
        histogram={int(size): count for size, count in sorted(Counter(scheduled.tolist()).items())},
        batched_ratio=float(np.mean(scheduled >= 2)),
        exact=counted is not None,
        steps=steps,
        mean_batch=requests / sum(steps.values()) if steps else None,
        seen_batch=sum(size**2 * count for size, count in steps.items()) / requests if requests else None,
        in_company_ratio=_in_company(samples, start_ns, end_ns) if counted is not None else together / requests if requests else None,
        running=running,
        waiting=Level.of(inside(samples.series("inflight_waiting_requests"), start_ns, end_ns)),
        limit=int(limit.max) if limit else None,
        paused=Level.of(inside(samples.series("inflight_paused_requests"), start_ns, end_ns)),
    )


def _counted_steps(samples: Samples, start_ns: int, end_ns: int) -> dict[int, int] | None:
    """The batch from the engine's own counters, or None if it has none or if its page was not read at the start of the stage."""
    labels = sorted(samples.labels("inflight_steps"), key=int)
    borders = border_readings(samples.series("inflight_scheduled_requests"), start_ns, end_ns)  # always on the counters' page
    if not labels or borders is None:
        return None
    counts = {int(label): round(rise(samples.series("inflight_steps", label), *borders)) for label in labels}
    return {size: count for size, count in counts.items() if count}


def _in_company(samples: Samples, start_ns: int, end_ns: int) -> float | None:
    borders = border_readings(samples.series("inflight_scheduled_requests"), start_ns, end_ns)
    if borders is None:
        return None
    alone, together = (rise(samples.series("inflight_tokens", label), *borders) for label in ("alone", "in_company"))
    return together / (alone + together) if alone + together else None


def _sampled_steps(samples: Samples, start_ns: int, end_ns: int) -> dict[int, int]:
    """The batch from sampled gauges. The weight of a reading is the number of steps since the previous one. A reading of an idle engine,
    whose gauges may be out of date, has the weight 0.
    """
    times, scheduled = samples.series("inflight_scheduled_requests")
    counted = dict(zip(*samples.series("engine_iterations"), strict=True))
    steps: Counter[int] = Counter()
    for i in range(int(np.searchsorted(times, start_ns, "left")), int(np.searchsorted(times, end_ns, "right"))):
        weight = _steps_since(counted, times[i - 1] if i else None, times[i])
        if weight and scheduled[i] >= 1:
            steps[int(scheduled[i])] += weight
    return dict(sorted(steps.items()))


def _steps_since(counted: Mapping[np.int64, np.float64], before_ns: np.int64 | None, at_ns: np.int64) -> int:
    """The number of steps between two readings by the engine's iteration counter, where a decrease is a reset; 1 if the counter was not
    read.
    """
    if before_ns is None or before_ns not in counted or at_ns not in counted:
        return 1
    then, now = counted[before_ns], counted[at_ns]
    return round(float(now - then if now >= then else now))


def _mean_ns(samples: Samples, start_ns: int, end_ns: int, *names: SeriesName) -> int | None:
    """Mean of summed durations over the successful requests that reached the model. Requests answered by the response cache have neither
    queue nor compute time.
    """
    spent = [increase(samples.series(name), start_ns, end_ns) for name in names]
    known = [ns for ns in spent if ns is not None]
    borders = border_readings(samples.series("triton_success_count"), start_ns, end_ns)
    if borders is None or len(known) < len(names):
        return None
    requests = rise(samples.series("triton_success_count"), *borders) - rise(samples.series("response_cache_hit_count"), *borders)
    return round(sum(known) / requests) if requests > 0 else None


def _copy_ratio(samples: Samples, start_ns: int, end_ns: int) -> float | None:
    """(Time to make an execution's input + to take its output) / all its time; None without these counters, or if they stood still."""
    spent = [increase(samples.series(name), start_ns, end_ns) for name in _COMPUTE]
    known = [ns for ns in spent if ns is not None]
    total = sum(known, 0.0)
    return 1 - known[1] / total if len(known) == len(_COMPUTE) and total else None


def padding_ratio(samples: Samples, start_ns: int, end_ns: int, requests: Requests, padded_to_tokens: int | None) -> float | None:
    """Padding tokens / all computed tokens, from the model's counts or from the client's padding; None if neither is known."""
    done = requests.completed.input_tokens
    if padded_to_tokens and len(done):
        return 1 - int(done.sum()) / (len(done) * padded_to_tokens)
    asked, padding = (increase(samples.series("encoder_tokens", kind), start_ns, end_ns) for kind in ("input", "padding"))
    return padding / (asked + padding) if asked and padding is not None else None
