"""The table of series in docs/telemetry.md, from the declared names."""

from __future__ import annotations

from reference.markdown import code, table
from trtbench.rundir.series import groups, unit_of


def series_table() -> str:
    rows = [
        (", ".join(map(code, names)), about.label, ", ".join(dict.fromkeys(filter(None, map(unit_of, names)))), about.source, about.meaning)
        for names, about in groups()
    ]
    return table(("name", "label", "unit", "source", "meaning"), rows)
