"""Do two engines say the same? Greedy outputs of the same prompts, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.found import Key
from trtbench.rundir import Requests
from trtbench.rundir.records import Outcome

_FIRST_PROMPTS = 10_000
"""Of each stage, by their place in the plan, so that two engines are compared on the same ones."""
Values = npt.NDArray[Any]
PromptKey = tuple[str, int, int]
"""(stage, prompt, asked output tokens): the same plan gives the same prompt under the same key."""
Answers = dict[PromptKey, Values]
OUTPUTS: Key[Answers] = Key("outputs", summarised=False)
EMBEDDINGS: Key[Answers] = Key("embeddings", summarised=False)


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


def embeddings(requests: Requests) -> Answers:
    """Embeddings by key, where they were kept; the first completed request of each."""
    return _answers(requests, "embedding", np.float64)


def embedding_agreement(base: Answers, other: Answers) -> EmbeddingAgreement | None:
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


def outputs(requests: Requests) -> Answers:
    """Token ids by key, the first completed request of each."""
    return _answers(requests, "output_ids", np.int64)


def _answers(requests: Requests, column: str, dtype: type[np.generic]) -> Answers:
    """Of the first prompts of each stage: as many as tell how two engines differ, whatever the length of the run."""
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
    """None when the two have no prompt in common."""
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
