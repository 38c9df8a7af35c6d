"""Findings on two precisions of one deployment: is the smaller one faster, and does it still say the same?"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from trtbench.analysis.comparison import Comparison
from trtbench.analysis.findings import Finding, Severity

CLEAR_RATIO = 1.05
"""A throughput ratio nearer to 1 than this is within what two runs of one engine differ by."""
_EARLY_PREFIX_RATIO = 0.5
_LEAST_PROMPTS = 20


def precision_findings(pair: Comparison) -> Iterator[Finding]:
    """Nothing on speed without a sound closed-loop stage of the same plan, nothing on agreement with fewer than 20 common prompts."""
    speeds = [stage.output_token_throughput for stage in pair.stages if stage.sound and stage.output_token_throughput]
    names: dict[str, float | str] = {"base": pair.base_dtype.upper(), "other": pair.other_dtype.upper()}
    if speeds:
        typical = median(speeds)
        code = "precision_faster" if typical >= CLEAR_RATIO else "precision_slower" if typical <= 1 / CLEAR_RATIO else "precision_same"
        figures = names | {
            "speed_factor": typical,
            "least_factor": min(speeds),
            "most_factor": max(speeds),
            "stages": len(speeds),
            "size_factor": pair.engine_size_ratio if pair.engine_size_ratio is not None else "-",
        }
        yield Finding(code, "warning" if code == "precision_slower" else "info", pair.other, figures=figures)
    said = pair.agreement
    if said is not None and said.prompts >= _LEAST_PROMPTS:
        early = said.mean_prefix_ratio < _EARLY_PREFIX_RATIO
        figures = names | {
            "prompts": said.prompts,
            "identical_ratio": said.identical_ratio,
            "prefix_ratio": said.mean_prefix_ratio,
            "first_token_ratio": said.first_token_ratio,
        }
        severity: Severity = "warning" if early else "info"
        yield Finding("agreement_low" if early else "agreement", severity, pair.other, figures=figures)
