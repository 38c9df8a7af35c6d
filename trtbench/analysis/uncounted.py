"""Output whose tokens the server does not count: what is known of them all the same, and how surely (docs/families.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trtbench.records import Outcome, RequestRecord

_ENOUGH_COMPARED = 10
_SURE_RATIO = 0.01
_ESTIMATE_RATIO = 0.1
"""An estimate by the tokenizer within this share of what was asked, and one token, is taken for as many as were asked."""


@dataclass(frozen=True, slots=True)
class TokenCounting:
    """Requests with output whose server told no counts, by how their tokens are known.

    `by_length`: it said that they ended by their length, so they have the tokens that were asked. `estimated`: by our tokenizer, of
    their text. Of requests of which both are known, `compared` of them, `error_ratio` is the largest |tokenizer / told - 1|.
    `uncertain_ratio`: the tokens that the estimates may be off, at that error and one for an end token that no text shows, of all
    tokens; None where it is not known.
    """

    by_length: int = 0
    estimated: int = 0
    unknown: int = 0
    compared: int = 0
    error_ratio: float | None = None
    uncertain_ratio: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether what is estimated moves the figures by less than anybody reads off them."""
        return self.compared >= _ENOUGH_COMPARED and self.uncertain_ratio is not None and self.uncertain_ratio < _SURE_RATIO


def with_counts(requests: Sequence[RequestRecord]) -> tuple[list[RequestRecord], TokenCounting]:
    """The requests, with a count at each response wherever one can be had; those that the server counted as they were."""
    untold = [request for request in requests if not request.counts_tokens]
    told = [request for request in untold if _ended_by_length(request)]
    estimated = [request for request in untold if request.tokens_estimated]
    errors = [abs(r.text_tokens / r.asked_output_tokens - 1) for r in told if r.text_tokens is not None]
    error = max(errors, default=None)
    counted = [request if request.counts_tokens else _counted(request) for request in requests]
    unknown = len(untold) - len(told) - len(estimated)
    return counted, TokenCounting(len(told), len(estimated), unknown, len(errors), error, _uncertain_ratio(counted, error))


def is_exact(request: RequestRecord) -> bool:
    """Whether its output tokens are counted, not estimated."""
    return request.counts_tokens and not request.tokens_estimated


def is_estimated_off(request: RequestRecord) -> bool:
    """Whether the text of a request holds another number of tokens than asked, by more than our tokenizer may be wrong."""
    if not request.tokens_estimated or request.text_tokens is None:
        return False
    asked = request.asked_output_tokens
    return abs(request.text_tokens - asked) > 1 + _ESTIMATE_RATIO * asked


def _uncertain_ratio(counted: Sequence[RequestRecord], error_ratio: float | None) -> float | None:
    tokens = sum(request.output_tokens for request in counted)
    if error_ratio is None or not tokens:
        return None
    return sum(request.output_tokens * error_ratio + 1 for request in counted if request.tokens_estimated) / tokens


def _ended_by_length(request: RequestRecord) -> bool:
    return request.finish_reason == "length" and request.outcome is Outcome.COMPLETED


def _counted(request: RequestRecord) -> RequestRecord:
    if _ended_by_length(request):
        return replace(request, token_counts=spread(request.asked_output_tokens, len(request.token_ns)))
    if request.text_tokens is None:
        return request
    tokens = min(max(1, request.text_tokens), request.asked_output_tokens)  # what was sent is a token at least; no model makes more
    return replace(request, token_counts=spread(tokens, len(request.token_ns)))


def spread(tokens: int, responses: int) -> list[int]:
    """So many tokens over so many responses, as evenly as can be: one each where there are as many."""
    return [(i + 1) * tokens // responses - i * tokens // responses for i in range(responses)]
