"""What the requests were like, in one row of the test parameters."""

from __future__ import annotations

from trtbench.report.kit.words import Words
from trtbench.scenario.workload.lengths import Lengths, Range
from trtbench.scenario.workload.request_kind import RequestKind
from trtbench.scenario.workload.workload import Workload


def workload_text(work: Workload, words: Words) -> str:
    kinds = [
        words("workload.component", name=name, share_ratio=share, kind=_kind(kind, words)) if name else _kind(kind, words)
        for (name, kind), share in zip(work.kinds.items(), work.kind_shares, strict=True)
    ]
    parts = [
        *kinds,
        *([words("workload.exact")] if words.task.draws_output_tokens and work.ignore_eos else []),
        *([words("workload.repeated", share_ratio=work.duplicate_ratio)] if work.duplicate_ratio else []),
        words("workload.languages", languages=words.listed(list(work.languages))),
        *([_sampling(work.sampling.temperature, words)] if words.task.draws_output_tokens else []),
    ]
    return words("workload.separator").join(parts)


def _sampling(temperature: float, words: Words) -> str:
    return words("workload.greedy") if temperature == 0 else words("workload.sampled", temperature=temperature)


def _kind(kind: RequestKind, words: Words) -> str:
    parts = [words("workload.lengths", input=_tokens(kind.input_tokens, words), output=_tokens(kind.output_tokens, words))]
    if kind.dataset:
        parts = [words("workload.dataset", file=kind.dataset.path.name)]
    if kind.prefix:
        figures = {"groups": kind.prefix.groups, "tokens": kind.prefix.tokens, "share_ratio": kind.prefix.share_ratio}
        parts.append(words("workload.prefix", **figures))
    if kind.sessions:
        turns = kind.sessions.turns
        parts.append(words("workload.sessions", turns=_tokens(turns, words)) if turns else words("workload.conversations"))
    if kind.cancel:
        parts.append(words("workload.cancel", share_ratio=kind.cancel.ratio))
    return words.listed(parts)


def _tokens(lengths: Lengths, words: Words) -> str:
    """A number, the bounds of an even draw, or bounds and mean of another law."""
    if lengths.min == lengths.max:
        return str(lengths.min)
    bounds = f"{lengths.min}–{lengths.max}"
    return bounds if isinstance(lengths, Range) else words("workload.law", bounds=bounds, mean=f"{lengths.expected:.0f}")
