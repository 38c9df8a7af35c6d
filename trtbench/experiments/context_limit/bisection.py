"""Bisection: the largest length that passes, in the fewest tries."""

from __future__ import annotations


class Bisection:
    """Doubles from `shortest` until a length fails or `longest` passes, then halves what lies between until it is `resolution`.

    `passed` is the longest length that passed, `failed` the shortest that failed; each None until there is one. A limit is only
    found where failure is monotonic: what fails at one length fails at every longer one.
    """

    def __init__(self, shortest: int, longest: int, resolution: int) -> None:
        self.passed: int | None = None
        self.failed: int | None = None
        self._shortest, self._longest, self._resolution = shortest, longest, resolution

    def next(self) -> int | None:
        """The length to try; None when the search is over."""
        if self.failed is None:
            if self.passed is None:
                return self._shortest
            return min(self.passed * 2, self._longest) if self.passed < self._longest else None
        low = self.passed or 0
        gap = self.failed - low
        if gap <= self._resolution:
            return None
        steps = gap // self._resolution  # on a grid of whole resolutions above `low`
        return low + max(1, steps // 2) * self._resolution if steps > 1 else low + gap // 2

    def add(self, length: int, passed: bool) -> None:
        if passed:
            self.passed = max(self.passed or 0, length)
        else:
            self.failed = min(self.failed or length, length)
