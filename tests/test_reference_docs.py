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
