"""`python -m tests.support.without_figures ...` is `trtbench ...` whose reports have no figures. To import matplotlib and to draw a report
takes as much CPU as the rest of a short run; tests that look at a report's figures start `trtbench` itself.
"""

import sys
from types import ModuleType


def main() -> None:
    stand_in = ModuleType("trtbench.report.figures.plots")
    stand_in.draw = lambda summary, words: {}  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
    from trtbench.__main__ import main as trtbench  # takes signals over when it is imported

    trtbench()


if __name__ == "__main__":
    main()
