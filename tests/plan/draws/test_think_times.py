from __future__ import annotations

import numpy as np
import pytest

from trtbench.plan.draws.think_times import think_ns
from trtbench.scenario.workload.think_time import Think


def test_fixed_pauses() -> None:
    assert think_ns(Think(mean=1.5), 3, np.random.default_rng(1)).tolist() == [1_500_000_000] * 3


def test_exponential_pauses() -> None:
    think = Think(mean=0.5, distribution="exponential")
    pauses_ns = think_ns(think, 50_000, np.random.default_rng(1))
    assert pauses_ns.mean() == pytest.approx(0.5e9, rel=0.02)
    assert pauses_ns.std() == pytest.approx(0.5e9, rel=0.03)
    assert np.mean(pauses_ns > 0.5e9) == pytest.approx(np.exp(-1), abs=0.01)
    assert think_ns(think, 100, np.random.default_rng(1)).tolist() == pauses_ns[:100].tolist()
