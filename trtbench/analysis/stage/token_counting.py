"""Output whose tokens the server does not count: what is known of their number, and with what certainty (docs/families.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trtbench.rundir.event_kinds import IF_KNOWN
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests

_ENOUGH_COMPARED = 10
_SURE_RATIO = 0.01
_ESTIMATE_RATIO = 0.1
"""An estimate within this share of the requested number, plus one token, counts as the requested number."""


@dataclass(frozen=True, slots=True)
class InputDifference:
    """Requests in whose prompt the server counts another number of tokens than planned: `count` of `requests`, `least` to `most` more."""

    count: int
    requests: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class TokenCounting:
    """Requests with output whose server reported no counts, by the way in which their tokens are known.

    `by_length`: the server reported that the length ended them, so they have the requested number of tokens. `estimated`: trtbench's
    tokenizer counted their text. Both are known of `compared` requests, and `error_ratio` is the largest |tokenizer / reported - 1| of
    these. `uncertain_ratio`: the error of all estimates, with one token each for an end token that no text shows, divided by all tokens;
    None if it is unknown.
    """

    by_length: int = 0
    estimated: int = 0
    unknown: int = 0
    compared: int = 0
    error_ratio: float | None = None
    uncertain_ratio: float | None = None
    input_difference: InputDifference | None = field(default=None, metadata=IF_KNOWN)

    @property
    def is_sure(self) -> bool:
        """Whether the uncertainty of the estimates is too small to change a conclusion."""
        return self.compared >= _ENOUGH_COMPARED and self.uncertain_ratio is not None and self.uncertain_ratio < _SURE_RATIO


def input_difference(requests: Requests) -> InputDifference | None:
    """None if the server counts what was planned, or counts nothing."""
    other = requests.select(requests.planned_input_tokens != MISSING)
    if not len(other):
        return None
    more = other.input_tokens - other.planned_input_tokens
    return InputDifference(len(other), len(requests), int(more.min()), int(more.max()))


def with_counts(requests: Requests) -> tuple[Requests, TokenCounting]:
    """All requests, with a token count for each response where one can be determined. Counts by the server are unchanged."""
    asked, text, output = requests.asked_output_tokens, requests.text_tokens, requests.output_tokens
    uncounted, by_text = ~requests.counts_tokens, text != MISSING
    by_length = uncounted & requests.texts("finish_reason").equal("length") & requests.ended(Outcome.COMPLETED)
    estimated = requests.tokens_estimated
    compared = by_length & by_text & (asked > 0)
    error = float(np.abs(text[compared] / asked[compared] - 1).max()) if compared.any() else None
    # What was sent is a token at least; no model makes more than was asked.
    reported = np.where(by_length, asked, np.where(uncounted & by_text, np.minimum(np.maximum(1, text), asked), -1))
    output = np.where(reported >= 0, reported, output)
    single = np.where(reported >= 0, reported == requests.responses, requests.each_has_one)
    counted = requests.with_columns({"reported_tokens": reported, "output_tokens": output, "each_has_one": single})
    lengths, texts, unknown, both = (int(mask.sum()) for mask in (by_length, uncounted & estimated, uncounted, compared))
    uncertain = _uncertain_ratio(output, estimated, error)
    return counted, TokenCounting(lengths, texts, unknown - lengths - texts, both, error, uncertain, input_difference(requests))


def is_exact(requests: Requests) -> Mask:
    """[n] Whether the output tokens were counted rather than estimated."""
    return requests.counts_tokens & ~requests.tokens_estimated


def estimated_off(requests: Requests) -> Mask:
    """[n] Whether the text has another number of tokens than requested, by more than the error of the tokenizer."""
    asked = requests.asked_output_tokens
    off: Mask = requests.tokens_estimated & (np.abs(requests.text_tokens - asked) > 1 + _ESTIMATE_RATIO * asked)
    return off


def _uncertain_ratio(output: Ints, estimated: Mask, error_ratio: float | None) -> float | None:
    tokens = int(output.sum())
    if error_ratio is None or not tokens:
        return None
    return (int(output[estimated].sum()) * error_ratio + int(estimated.sum())) / tokens
