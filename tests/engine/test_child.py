from __future__ import annotations

import pytest

from trtbench.engine.child import run_module
from trtbench.engine.spec import EngineError


def test_a_child_that_fails_is_quoted() -> None:
    with pytest.raises(EngineError, match=r"json\.tool failed \(exit code \d+\):\n(.|\n)*no-such-file"):
        run_module("json.tool", "no-such-file")


def test_a_child_that_is_no_module() -> None:
    with pytest.raises(EngineError, match="No module named"):
        run_module("no_such_module_at_all")


def test_a_child_that_succeeds_says_nothing() -> None:
    run_module("platform")
