"""Writes the report files of a run: summary.json, report.md, report.html and plots/*.png."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2
from markupsafe import Markup

from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Document
from trtbench.report.kit.words import Words
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import write_json, write_whole
from trtbench.scenario.parts.choices import Language
from trtbench.system.foreign_text import harmless

if TYPE_CHECKING:
    from trtbench.report.figures.plots import Drawing

Format = Literal["md", "html", "json"]
FORMATS: tuple[Format, ...] = ("md", "html", "json")


def write_reports(run: RunDirectory, summary: Summary, language: Language = "en", formats: Sequence[Format] = FORMATS) -> list[Path]:
    """Write the requested formats into the run directory, replacing those of an earlier report. Returns the paths, reports first."""
    written: list[Path] = []
    if "json" in formats:
        write_json(run.path / "summary.json", summary.to_json())
        written.append(run.path / "summary.json")
    if "md" in formats or "html" in formats:
        written += _write_documents(run.path, summary, Words(language, summary.scenario.task), formats)
    return written


def _write_documents(path: Path, summary: Summary, words: Words, formats: Sequence[Format]) -> list[Path]:
    from trtbench.report.figures.plots import draw  # matplotlib takes most of a second to import; json and --help need none

    drawings = draw(summary, words)
    content = document(summary, words, tuple(drawings))
    written: list[Path] = []
    if "md" in formats:
        written.append(_write(path / "report.md", as_markdown(content)))
    if "html" in formats:
        written.append(_write(path / "report.html", as_html(content, drawings)))
    return written + _write_png(drawings, path / "plots")


def as_markdown(content: Document) -> str:
    return _markdown().get_template("report.md.j2").render(document=content)


def as_html(content: Document, drawings: Mapping[str, Drawing]) -> str:
    """The document in one file, with the drawings that its figures name."""
    svg = {name: Markup(drawing.svg) for name, drawing in drawings.items()}  # noqa: S704 - our own drawing, escaped by matplotlib
    return _html().get_template("report.html.j2").render(document=content, svg=svg)


def _html() -> jinja2.Environment:
    return jinja2.Environment(
        loader=_loader(), autoescape=True, finalize=_visible, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _markdown() -> jinja2.Environment:
    """The report as Markdown. `finalize` escapes every expression, so that no place in the template can omit it."""
    environment = jinja2.Environment(  # noqa: S701 - Markdown is escaped by finalize, HTML escapes would show in it
        loader=_loader(), finalize=escape_markdown, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = harmless
    return environment


def _visible(value: Any) -> Any:
    """Text without invisible characters, so that only HTML's own escapes remain to be applied."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _loader() -> jinja2.BaseLoader:
    return jinja2.FileSystemLoader(Path(__file__).parent / "templates")


def escape_markdown(value: Any) -> Any:
    """Text that Markdown shows unchanged, also in a table cell: no markup, HTML, link or line break in it takes effect."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = harmless(" ".join(value.split()))
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    text = re.sub(r"(?i)\b(https?|ftp)://", r"\1\\://", re.sub(r"(?i)\bwww\.", r"www\\.", text))  # else a link by itself
    text = re.sub(
        r"^(?:(?:#{1,6}|=+|--+)(?=\s|$)|[-+](?=\s)|\d{1,9}(?=[.)](?:\s|$)))", _escaped_marker, text
    )  # else a heading, a list, a rule
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escaped_marker(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def _write(path: Path, text: str) -> Path:
    write_whole(path, text.encode())
    return path


def _write_png(drawings: Mapping[str, Drawing], directory: Path) -> list[Path]:
    """Write one file for each drawing and remove those of an earlier report that this report does not show."""
    directory.mkdir(exist_ok=True)
    for old in directory.glob("*.png"):
        old.unlink()
    for name, drawing in drawings.items():
        write_whole(directory / f"{name}.png", drawing.png)
    return [directory / f"{name}.png" for name in drawings]
