"""The figure of a load with reloads: latency, the answering versions and memory over time, with the instants of the reloads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trtbench.analysis.summary import Summary
from trtbench.experiments.hot_reload.course import Course
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.experiments.hot_reload.reloads import RELOADS, Reloads
from trtbench.report.kit.canvas import COLOURS, INK, ExperimentFigure, Painter
from trtbench.report.kit.grouping import shown
from trtbench.report.kit.words import Words

_NS_PER_MS, _NS_PER_S, _GIB = 1e6, 1e9, 2.0**30


def reload_figure(found: Reloads, words: Words, colours: Sequence[str], ink: str) -> Figure | None:
    """The figure, or None if no request completed. `colours` are for TTFT, ITL, failures, memory, then for the versions in turn."""
    course = found.course
    if not course.ttft_ns:
        return None
    streams = any(gap is not None for gap in course.itl_p99_ns)
    figure = Figure(figsize=(7.2, 7.4 if streams else 5.8), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(4 if streams else 3, 1, sharex=True, height_ratios=(1.3, 1, 1, 1) if streams else (1.3, 1, 1))
    ttft, versions, memory = panels[0], panels[-2], panels[-1]
    _first_answers(ttft, course, words, colours)
    if streams:
        _gaps(panels[1], course, words, colours)
    _versions(versions, course, words, colours)
    _memory(memory, course, words, colours)
    for one in found.reloads:
        for axes in panels:
            _mark(axes, one, course.from_ns, ink, words if axes is ttft else None)
        ttft.text(_s(one.start_ns, course), 1.02, str(one.number), transform=ttft.get_xaxis_transform(), ha="center", fontsize=8.5)
    memory.set_xlabel(words("axis.time"))
    memory.set_xlim(0, _s(course.to_ns, course))
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)
    return figure


def _s(instant_ns: float, course: Course) -> float:
    return (instant_ns - course.from_ns) / _NS_PER_S


def _bins_s(course: Course, bins: int) -> list[float]:
    return [i * course.bin_ns / _NS_PER_S for i in range(bins)]


def _first_answers(ttft: Axes, course: Course, words: Words, colours: Sequence[str]) -> None:
    x, y = zip(*((_s(at, course), value / _NS_PER_MS) for at, value in course.ttft_ns), strict=True)
    ttft.plot(x, y, "o", color=colours[0], markersize=2.5, alpha=0.7, linewidth=0)
    ttft.set_ylim(bottom=0)
    ttft.set_ylabel(words(f"axis.{words.task.headline_latency}_ms"))
    if course.failed_ns:
        failed, top = [_s(at, course) for at in course.failed_ns], ttft.get_xaxis_transform()
        ttft.plot(failed, [0.97] * len(failed), "x", color=colours[3], markersize=4, transform=top, label=words("legend.failed"))


def _gaps(itl: Axes, course: Course, words: Words, colours: Sequence[str]) -> None:
    gaps = [value / _NS_PER_MS if value is not None else float("nan") for value in course.itl_p99_ns]
    itl.step(_bins_s(course, len(gaps)), gaps, where="post", color=colours[1], linewidth=1)
    itl.set_ylim(bottom=0)
    itl.set_ylabel(words("axis.itl_p99_ms"))


def _versions(axes: Axes, course: Course, words: Words, colours: Sequence[str]) -> None:
    bins = len(next(iter(course.by_version.values())))
    rates = [[count * _NS_PER_S / course.bin_ns for count in counts] for counts in course.by_version.values()]
    labels = [words("legend.version", version=version or "-") for version in course.by_version]
    shades = [colours[i % len(colours)] for i in range(len(rates))]
    axes.stackplot(_bins_s(course, bins), rates, colors=shades, step="post", alpha=0.6, linewidth=0)
    for i, (label, colour) in enumerate(zip(labels, shades, strict=True)):
        if i < len(colours):  # more would say the same colours again
            axes.fill_between([], [], color=colour, alpha=0.6, linewidth=0, label=label)
    axes.set_ylabel(words("axis.rate"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _memory(axes: Axes, course: Course, words: Words, colours: Sequence[str]) -> None:
    for readings, colour, label in ((course.rss_bytes, colours[4], "legend.rss"), (course.gpu_bytes, colours[2], "legend.gpu_memory")):
        if readings:
            axes.step(
                [_s(at, course) for at, _ in readings],
                [value / _GIB for _, value in readings],
                where="post",
                color=colour,
                linewidth=1,
                label=words(label),
            )
    axes.set_ylim(bottom=0)
    axes.set_ylabel(words("axis.memory_gib"))


def _mark(axes: Axes, one: ReloadResult, from_ns: int, ink: str, words: Words | None) -> None:
    """Mark a reload: shaded from its beginning to the end of the load call, with lines at the new version's first answer and at
    recovery.
    """

    def at(instant_ns: int) -> float:
        return (instant_ns - from_ns) / _NS_PER_S

    def label(key: str) -> str:
        return words(key) if words else "_"

    if one.loaded_ns is not None:
        axes.axvspan(at(one.start_ns), at(one.loaded_ns), color=ink, alpha=0.13, linewidth=0, label=label("legend.loading"))
    recovered_ns = None if one.recovery_ns is None else one.start_ns + one.recovery_ns
    for instant_ns, line, key in (
        (one.start_ns, "-", "legend.reload_begins"),
        (one.first_answer_ns, ":", "legend.first_answer"),
        (recovered_ns, "--", "legend.recovered"),
    ):
        if instant_ns is not None:
            axes.axvline(at(instant_ns), color=ink, linewidth=0.8, alpha=0.7, linestyle=line, label=label(key))


def _painters(summary: Summary, words: Words) -> dict[str, Painter]:
    reloaded = [(result, found) for result in shown(summary) if (found := result.found[RELOADS])]
    return {f"reloads-{result.name}": partial(reload_figure, found, words, COLOURS, INK) for result, found in reloaded}


FIGURE = ExperimentFigure(_painters)
