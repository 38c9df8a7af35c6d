"""What a test of the tier `unit` may not do; this module has tests of that tier, so that the guard watches them."""

from __future__ import annotations

import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure  # here, so that the guard over drawing is there before the tier's first test

from tests.support.tiers import holds_no_test_of

REFUSED = pytest.fail.Exception


def test_a_unit_test_opens_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(REFUSED, match=r"opens .*/events\.jsonl: .*pytest\.mark\.whole_run"):
        (tmp_path / "events.jsonl").read_text()
    (tmp_path / "events.txt").write_text("")


def test_a_unit_test_draws_no_figure() -> None:
    with pytest.raises(REFUSED, match=r"draws a figure: .*pytest\.mark\.whole_run"):
        Figure().savefig(BytesIO())


def test_a_unit_test_starts_no_process_and_opens_no_socket() -> None:
    with pytest.raises(REFUSED, match=r"subprocess\.Popen.*pytest\.mark\.process"):
        subprocess.run([sys.executable, "-V"], check=True)
    with socket.socket() as unused, pytest.raises(REFUSED, match=r"socket\.bind.*pytest\.mark\.process"):
        unused.bind(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("mark", "unit", "process"),
    [
        ("pytestmark = pytest.mark.process", True, False),
        ("pytestmark = [pytest.mark.whole_run, pytest.mark.timeout(60)]", True, False),
        ("pytestmark = [\n    pytest.mark.triton,\n    pytest.mark.timeout(60),\n]", True, True),
        ("pytestmark = pytest.mark.timeout(60)", False, False),
        ("@pytest.mark.process\ndef test_one(): ...", False, False),
    ],
)
def test_a_module_of_other_tiers_is_not_imported(tmp_path: Path, mark: str, unit: bool, process: bool) -> None:
    module = tmp_path / "test_it.py"
    module.write_text(f"import pytest\n\n{mark}\n")
    assert [holds_no_test_of(tier, module) for tier in ("unit", "process", "triton", "", "not gpu")] == [unit, process, False, False, False]
