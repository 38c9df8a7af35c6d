"""What the experiment finds: the request that waited longest for its answer, by deployment."""

from __future__ import annotations

from trtbench.analysis.found import Key

LONGEST_WAIT_NS: Key[int] = Key("longest_wait_ns")
