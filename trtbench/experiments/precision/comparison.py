"""The comparison of two precisions of one deployment: speed, size, and agreement of their outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import MeasuredRun
from trtbench.analysis.found import Key
from trtbench.analysis.stage.stage_result import StageResult, is_disturbed
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import Requests

_FIRST_PROMPTS = 10_000
"""The prompts of each stage that are compared, by their place in the plan, so that two engines are compared on the same prompts."""
Values = npt.NDArray[Any]
PromptKey = tuple[str, int, int]
"""(Stage, prompt, requested output tokens): the same plan gives the same prompt under the same key."""
Answers = dict[PromptKey, Values]
OUTPUTS: Key[Answers] = Key("outputs", summarised=False)
EMBEDDINGS: Key[Answers] = Key("embeddings", summarised=False)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement over `prompts` that both engines completed. Quantised weights change greedy output: late divergence is normal, early
    divergence is not.
    """

    prompts: int
    identical_ratio: float
    mean_prefix_ratio: float  # common prefix / longer output
    first_token_ratio: float  # same first token


@dataclass(frozen=True, slots=True)
class EmbeddingAgreement:
    """Cosines between two engines' embeddings of `prompts` that both completed."""

    prompts: int
    mean_cosine: float
    least_cosine: float


def embeddings(requests: Requests) -> Answers:
    """Embeddings by key, if they were kept, from the first completed request of each key."""
    return _answers(requests, "embedding", np.float64)


def embedding_agreement(base: Answers, other: Answers) -> EmbeddingAgreement | None:
    """The agreement of two engines' vectors, or None without a common prompt or with vectors of different lengths."""
    pairs = [(np.asarray(base[key]), np.asarray(other[key])) for key in base if key in other]
    if not pairs or any(left.shape != right.shape for left, right in pairs):
        return None
    cosines = [cosine(left, right) for left, right in pairs]
    return EmbeddingAgreement(len(pairs), sum(cosines) / len(cosines), min(cosines))


def cosine(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """The cosine of two vectors; 0 if one of them is all zeros, because it has no direction."""
    lengths = (float(np.linalg.norm(left)), float(np.linalg.norm(right)))
    return float((left / lengths[0]) @ (right / lengths[1])) if all(lengths) else 0.0


def outputs(requests: Requests) -> Answers:
    """Token ids by key, from the first completed request of each key."""
    return _answers(requests, "output_ids", np.int64)


def _answers(requests: Requests, column: str, dtype: type[np.generic]) -> Answers:
    """The answers to the first prompts of each stage, which are enough to compare two engines after a run of any length."""
    chosen = requests.select(requests.ended(Outcome.COMPLETED) & (requests.prompt < _FIRST_PROMPTS))
    stages, prompts, asked = chosen.texts("stage"), chosen.prompt.tolist(), chosen.asked_output_tokens.tolist()
    found: Answers = {}
    for at, values in chosen.lists(column):
        for i, place in enumerate(at.tolist()):
            of_request = values.values[values.offsets[i] : values.offsets[i + 1]]
            if len(of_request):
                found.setdefault((stages.values[stages.codes[place]], prompts[place], asked[place]), of_request.astype(dtype))
    return found


def agreement(base: Answers, other: Answers) -> Agreement | None:
    """The agreement of two engines' outputs, or None without a common prompt."""
    pairs = [(base[key], other[key]) for key in base if key in other]
    if not pairs:
        return None
    prefixes = [prefix_ratio(left, right) for left, right in pairs]
    return Agreement(
        prompts=len(pairs),
        identical_ratio=sum(np.array_equal(left, right) for left, right in pairs) / len(pairs),
        mean_prefix_ratio=sum(prefixes) / len(pairs),
        first_token_ratio=sum(int(left[0] == right[0]) for left, right in pairs) / len(pairs),
    )


def prefix_ratio(left: Values, right: Values) -> float:
    """Length of the common prefix / length of the longer; 1 for two empty outputs."""
    longer, shorter = max(len(left), len(right)), min(len(left), len(right))
    differs = np.flatnonzero(np.asarray(left[:shorter]) != np.asarray(right[:shorter]))
    common = int(differs[0]) if len(differs) else shorter
    return common / longer if longer else 1.0


COMPARISONS: Key[tuple[Comparison, ...]] = Key("comparisons")


@dataclass(frozen=True, slots=True)
class StageRatios:
    """Ratios of one stage, other / base. Throughput above 1 and latencies below 1 favour `other`. None if either has too few samples.

    `sound`: it is a closed loop whose rates are supported on both, without background load in either.
    """

    stage: str
    sound: bool
    output_token_throughput: float | None
    ttft_p50: float | None
    tpot_p50: float | None
    e2e_latency_p50: float | None
    request_throughput: float | None = None  # of an encoder, which gives no tokens


@dataclass(frozen=True, slots=True)
class Comparison:
    """`other` compared with `base`, both deployment directories. Without `same_plan` there are no ratios, because the two had different
    requests.
    """

    deployment: str
    base: str
    other: str
    base_dtype: str
    other_dtype: str
    same_plan: bool
    stages: tuple[StageRatios, ...]
    engine_size_ratio: float | None
    rss_peak_ratio: float | None
    gpu_memory_peak_ratio: float | None
    agreement: Agreement | None
    embeddings: EmbeddingAgreement | None = None


def compare(run: MeasuredRun) -> tuple[Comparison, ...]:
    """Each further precision of a deployment compared with its first, in the order of the scenario's engines, because a grid runs them
    shuffled.
    """
    places: dict[str, int] = {dtype: place for place, dtype in enumerate(run.scenario.engines)}
    bases: dict[str, DeploymentResult] = {}
    found = []
    for result in sorted(run.results, key=lambda result: places.get(result.facts.dtype or "", len(places))):
        base = bases.setdefault(result.facts.deployment, result)
        if base is not result and base.facts.dtype and result.facts.dtype:
            found.append(_pair(base, result, run))
    return tuple(found)


def _pair(base: DeploymentResult, other: DeploymentResult, run: MeasuredRun) -> Comparison:
    same = base.facts.plan_sha256 is not None and base.facts.plan_sha256 == other.facts.plan_sha256
    pairs = [(left, right) for left in base.stages if (right := other.stage(left.span.name))] if same else []
    greedy = run.scenario.workload.sampling.temperature == 0
    return Comparison(
        deployment=base.facts.deployment,
        base=base.name,
        other=other.name,
        base_dtype=base.facts.dtype or "",
        other_dtype=other.facts.dtype or "",
        same_plan=same,
        stages=tuple(_ratios(left, right, run.cpu_count) for left, right in pairs),
        engine_size_ratio=_ratio(other.facts.engine_size_bytes, base.facts.engine_size_bytes),
        rss_peak_ratio=_ratio(other.rss_peak_bytes, base.rss_peak_bytes),
        gpu_memory_peak_ratio=_ratio(other.gpu_memory_peak_bytes, base.gpu_memory_peak_bytes),
        agreement=agreement(base.found[OUTPUTS], other.found[OUTPUTS]) if same and greedy else None,
        embeddings=embedding_agreement(base.found[EMBEDDINGS], other.found[EMBEDDINGS]) if same else None,
    )


def _ratios(base: StageResult, other: StageResult, cpu_count: int) -> StageRatios:
    def p50(pick: str) -> float | None:
        left: Distribution = getattr(base.latency, pick)
        right: Distribution = getattr(other.latency, pick)
        return _ratio(right.p50, left.p50)

    return StageRatios(
        stage=base.span.name,
        sound=all(s.is_closed_loop and s.supports_rates and not is_disturbed(s, cpu_count) for s in (base, other)),
        output_token_throughput=_ratio(other.throughput.output_token_throughput, base.throughput.output_token_throughput),
        ttft_p50=p50("ttft_ns"),
        tpot_p50=p50("tpot_ns"),
        e2e_latency_p50=p50("e2e_latency_ns"),
        request_throughput=None
        if base.throughput.output_tokens
        else _ratio(other.throughput.request_throughput, base.throughput.request_throughput),
    )


def _ratio(other: float | None, base: float | None) -> float | None:
    return other / base if other is not None and base else None
