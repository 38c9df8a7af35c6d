"""scripts/reference_docs.py: the generated pages are up to date, and how a part of a page is replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "reference_docs.py"


@pytest.mark.process
def test_the_reference_pages_are_those_that_the_code_gives() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_part_is_replaced_between_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from reference_docs import with_part

    page = "# Page\n\n<!-- generated: keys -->\nold\n<!-- end: keys -->\n\nafter\n"
    assert with_part(page, "keys", "new\nlines\n") == "# Page\n\n<!-- generated: keys -->\nnew\nlines\n<!-- end: keys -->\n\nafter\n"
    with pytest.raises(ValueError, match="generated: other"):
        with_part(page, "other", "")


def test_the_page_of_keys_has_bounds_defaults_and_parts_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from reference.scenario_keys import scenario_keys

    lines = [line.removeprefix("| ").split(" | ") for line in scenario_keys().splitlines()]
    rows = {line[0].strip("`"): line for line in lines if len(line) > 3}
    assert rows["load[].rate"][1:3] == ["number from 0.0001 to 1,000,000 or mapping", "`null`"]
    assert rows["deployments.NAME.kv_cache.blocks"][1] == "whole number from 1 to 2,147,483,647"
    assert rows["name"][2] == "required"
    assert "It has the keys of `workload.prefix`." in rows["workload.mix.NAME.prefix"][3]
    assert {"gpu.cool_down.temperature_c", "load[].concurrency.steps", "client.headers.NAME.env", "sigma"} <= set(rows)
    assert "client.transport" not in rows
