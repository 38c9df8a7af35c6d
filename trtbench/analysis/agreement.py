"""Do two engines say the same? Greedy outputs of the same prompts, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trtbench.records import Outcome, RequestRecord

T = TypeVar("T")
Key = tuple[str, int, int]
"""(stage, prompt, asked output tokens): the same plan gives the same prompt under the same key."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over `prompts` that both engines completed. Quantised weights do change greedy output: late divergence is normal, early is not."""

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


def embeddings(requests: Iterable[RequestRecord]) -> dict[Key, list[float]]:
    """Embeddings by key, where they were kept; the first completed request of each."""
    return _answers(requests, lambda request: request.embedding)


def embedding_agreement(base: dict[Key, list[float]], other: dict[Key, list[float]]) -> EmbeddingAgreement | None:
    """None when the two have no prompt in common, or vectors of different lengths."""
    pairs = [(np.asarray(base[key]), np.asarray(other[key])) for key in base if key in other]
    if not pairs or any(left.shape != right.shape for left, right in pairs):
        return None
    cosines = [cosine(left, right) for left, right in pairs]
    return EmbeddingAgreement(len(pairs), sum(cosines) / len(cosines), min(cosines))


def cosine(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """0 where one of them is all zeros: it points nowhere."""
    lengths = (float(np.linalg.norm(left)), float(np.linalg.norm(right)))
    return float((left / lengths[0]) @ (right / lengths[1])) if all(lengths) else 0.0


def outputs(requests: Iterable[RequestRecord]) -> dict[Key, list[int]]:
    """Token ids by key, the first completed request of each."""
    return _answers(requests, lambda request: request.output_ids)


def _answers(requests: Iterable[RequestRecord], answer: Callable[[RequestRecord], list[T] | None]) -> dict[Key, list[T]]:
    found: dict[Key, list[T]] = {}
    for request in requests:
        if request.outcome is Outcome.COMPLETED and (values := answer(request)):
            found.setdefault((request.stage, request.prompt, request.asked_output_tokens), values)
    return found


def agreement(base: dict[Key, list[int]], other: dict[Key, list[int]]) -> Agreement | None:
    """None when the two have no prompt in common."""
    pairs = [(base[key], other[key]) for key in base if key in other]
    if not pairs:
        return None
    prefixes = [prefix_ratio(left, right) for left, right in pairs]
    return Agreement(
        prompts=len(pairs),
        identical_ratio=sum(left == right for left, right in pairs) / len(pairs),
        mean_prefix_ratio=sum(prefixes) / len(pairs),
        first_token_ratio=sum(left[0] == right[0] for left, right in pairs) / len(pairs),
    )


def prefix_ratio(left: Sequence[int], right: Sequence[int]) -> float:
    """Length of the common prefix / length of the longer; 1 for two empty outputs."""
    longer = max(len(left), len(right))
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
    return common / longer if longer else 1.0
