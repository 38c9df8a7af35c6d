"""Output whose tokens the server does not count: what is known of them, and with what certainty (docs/families.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.rundir import MISSING, Ints, Mask, Requests
from trtbench.rundir.records import Outcome

_ENOUGH_COMPARED = 10
_SURE_RATIO = 0.01
_ESTIMATE_RATIO = 0.1
"""An estimate by the tokenizer within this share of what was asked, and one token, is taken for as many as were asked."""


@dataclass(frozen=True, slots=True)
class TokenCounting:
    """Requests with output whose server reported no counts, by how their tokens are known.

    `by_length`: it said that they ended by their length, so they have the tokens that were asked. `estimated`: by our tokenizer, of
    their text. Of requests of which both are known, `compared` of them, `error_ratio` is the largest |tokenizer / reported - 1|.
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


def with_counts(requests: Requests) -> tuple[Requests, TokenCounting]:
    """All requests, with a count at each response wherever one can be had; those that the server counted as they were."""
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
    return counted, TokenCounting(lengths, texts, unknown - lengths - texts, both, error, _uncertain_ratio(output, estimated, error))


def is_exact(requests: Requests) -> Mask:
    """[n] Whether output tokens are counted, not estimated."""
    return requests.counts_tokens & ~requests.tokens_estimated


def estimated_off(requests: Requests) -> Mask:
    """[n] Whether the text of a request holds another number of tokens than asked, by more than our tokenizer may be wrong."""
    asked = requests.asked_output_tokens
    off: Mask = requests.tokens_estimated & (np.abs(requests.text_tokens - asked) > 1 + _ESTIMATE_RATIO * asked)
    return off


def _uncertain_ratio(output: Ints, estimated: Mask, error_ratio: float | None) -> float | None:
    tokens = int(output.sum())
    if error_ratio is None or not tokens:
        return None
    return (int(output[estimated].sum()) * error_ratio + int(estimated.sum())) / tokens
