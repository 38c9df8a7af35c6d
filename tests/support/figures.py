"""Figures that are rendered when a test looks at them: a report of a synthetic run has six, and most tests look at one or none."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from trtbench.report.figures import plots

_RENDER = plots._drawing


class OnDemand:
    """In place of a Drawing: rendered at the first look, in the style that it was painted in."""

    def __init__(self, name: str, figure: Figure) -> None:
        self.name = name
        self._figure = figure
        self._style: dict[Any, Any] = {**plots._STYLE, "font.family": matplotlib.rcParams["font.family"]}

    @cached_property
    def _drawing(self) -> Any:
        with matplotlib.rc_context(self._style):
            return _RENDER(self.name, self._figure)

    @property
    def svg(self) -> str:
        return str(self._drawing.svg)

    @property
    def png(self) -> bytes:
        return bytes(self._drawing.png)
