"""A provider that trtbench does not have: engines of paper."""

from __future__ import annotations

from tests.support.engines.fake_provider import FakeProvider
from trtbench.rundir.traits import Traits
from trtbench.serving.repository import model_repository
from trtbench.serving.repository.renderer import Renderer


class PaperProvider(FakeProvider):
    name = "paper"
    traits = Traits(takes_cpu_threads=True)


PAPER_RENDERER = Renderer(model_repository.kv_budget, model_repository.render)
