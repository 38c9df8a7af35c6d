"""A task that trtbench does not have: a text is summarised."""

from __future__ import annotations

from dataclasses import replace

from trtbench.tasks.generate import GENERATE

SUMMARISE = replace(GENERATE, name="summarise", model="a summariser", models="summarisers")
