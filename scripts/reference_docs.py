"""Writes the reference pages of docs/, and the JSON schema of scenarios, from the code that they describe.

`python scripts/reference_docs.py` writes them; `--check` changes nothing and fails if a page differs from what it would write.
A generator is a function without arguments. It gives the text of a page of its own (`PAGES`), or of a part of a written page between
the lines `<!-- generated: NAME -->` and `<!-- end: NAME -->` (`PARTS`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from reference.command_line import command_line
from reference.findings import findings_page
from reference.metric_tables import chinese_page, column_table, formula_table
from reference.scenario_keys import json_schema, scenario_keys
from reference.series import series_table

ROOT = Path(__file__).parents[1]
PAGES: dict[str, Callable[[], str]] = {
    "docs/cli.md": command_line,
    "docs/metrics.zh-CN.md": chinese_page,
    "docs/scenario-keys.md": scenario_keys,
    "scenarios/schema.json": json_schema,
}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/findings.md": {"rules": findings_page},
    "docs/metrics.md": {"formulas": formula_table, "figures": column_table},
    "docs/telemetry.md": {"series": series_table},
}


def with_part(page: str, name: str, text: str) -> str:
    """The page with `text` between the two lines of the part; ValueError if a line is missing."""
    begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->\n"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the lines {begin.strip()} and {end.strip()} are missing")
    return f"{before}{begin}{text.strip()}\n{end}{after}"


def generated() -> dict[str, str]:
    """The text that each page should have, by its path in the repository."""
    pages = {path: f"{make().strip()}\n" for path, make in PAGES.items()}
    for path, parts in PARTS.items():
        pages[path] = (ROOT / path).read_text("utf-8")
        for name, make in parts.items():
            pages[path] = with_part(pages[path], name, make())
    return pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs")
    check = parser.parse_args().check
    pages = generated()
    stale = [path for path, text in pages.items() if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != text]
    for path in stale:
        if check:
            print(f"{path} differs from the code; `make docs` writes it again", file=sys.stderr)
        else:
            (ROOT / path).write_text(pages[path], "utf-8")
            print(path)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
