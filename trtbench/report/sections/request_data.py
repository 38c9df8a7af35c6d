"""Files of requests: how many rows they have, and what was left out of them."""

from __future__ import annotations

from pathlib import PurePath

from trtbench.analysis.request_data import RequestData
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table
from trtbench.report.kit.format import NONE, percent, whole
from trtbench.report.kit.words import Words


def request_data_tables(summary: Summary, words: Words) -> list[Block]:
    """None where the requests came from no file."""
    rows = [row for one in summary.request_data for row in _rows(one)]
    if not rows:
        return []
    header = words.header("data_file", "data_rows", "left_out", "left_out_ratio", "left_out_why", "left_out_first")
    return [Table(header, tuple(rows), words("request_data.caption"), words("request_data.note"), numeric=False)]


def _rows(one: RequestData) -> list[tuple[str, ...]]:
    name = PurePath(one.path).name
    if not one.reasons:
        return [(name, whole(one.rows), whole(0), percent(0.0), NONE, NONE)]
    return [
        (
            name,
            whole(one.rows),
            whole(reason.rows),
            percent(reason.rows / one.rows if one.rows else 0.0),
            reason.reason,
            ", ".join(PurePath(place).name for place in reason.first) or NONE,
        )
        for reason in one.reasons
    ]
