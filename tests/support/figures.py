"""Figures that cost little: rendered when a test looks at them, or sketched. A report of a synthetic run has six, of half a second each."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from trtbench.report.figures import plots


class OnDemand:
    """In place of a Drawing: rendered at the first look, in the style that it was painted in."""

    def __init__(self, name: str, figure: Figure) -> None:
        self.name = name
        self._figure = figure
        self._style: dict[Any, Any] = {**plots._STYLE, "font.family": matplotlib.rcParams["font.family"]}

    @cached_property
    def svg(self) -> str:
        with matplotlib.rc_context(self._style):
            return plots._svg(self.name, self._figure)

    @property
    def png(self) -> bytes:
        raise NotImplementedError("no test looks at a PNG that is drawn on demand")


def sketch(name: str, figure: Figure) -> plots.Drawing:
    """For a report whose text is looked at: the figure was painted, and is not rendered."""
    return plots.Drawing(name, "<svg></svg>", b"\x89PNG")
