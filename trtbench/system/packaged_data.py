"""Paths of the data that ships with trtbench: engines/, model_repo/ and scenarios/.

A wheel has them inside the package, a checkout next to it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
ROOT = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent

ENGINES = ROOT / "engines"
MODEL_REPO = ROOT / "model_repo"
SCENARIOS = ROOT / "scenarios"
CORPUS = _PACKAGE / "plan" / "sources" / "corpus"
