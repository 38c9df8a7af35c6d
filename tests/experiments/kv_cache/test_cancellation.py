"""The audit of cancelled requests, on readings with a planted truth."""

from __future__ import annotations

from tests.support.records import MS, S, columns, request_of, samples_of
from trtbench.analysis.facts import DeploymentFacts, deployment_facts
from trtbench.analysis.stage.kv_cache import Residency
from trtbench.experiments.kv_cache.cancellation import Cancellation, cancellation
from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.samples import Samples

INTERVAL_NS = 100 * MS
GONE_NS = 300 * MS


def requests() -> list[RequestRecord]:
    """One survivor of 60 + 40 tokens, one a 100 ms for 4 s; one cancelled at 300 ms with two tokens."""
    stays = request_of(0, [100 * MS * i for i in range(1, 41)], input_tokens=60)
    goes = request_of(0, [200 * MS, 250 * MS], Outcome.CANCELLED, input_tokens=60, asked_output_tokens=40, done_ns=GONE_NS)
    goes.planned_cancel = True
    return [stays, goes]


def readings(active_after: int, used: int, active_late: int = 1) -> Samples:
    """Active requests are 2 until 300 ms, then `active_after` until 700 ms, then `active_late`; at 1.3 s `used` blocks."""
    times = range(0, 4 * S, INTERVAL_NS)
    active = [(t, float(2 if t <= GONE_NS else active_after if t < 700 * MS else active_late)) for t in times]
    used_blocks = [(t, float(used)) for t in times]
    return samples_of(
        {
            ("inflight_active_requests", ""): active,
            ("kv_blocks_used", ""): used_blocks,
            ("kv_blocks_max", ""): [(0, 20)],
            ("kv_block_tokens", ""): [(0, 16)],
        }
    )


def facts(prefix_caching: bool = False, **more: object) -> DeploymentFacts:
    config = {"kv_cache": {"prefix_caching": prefix_caching}}
    return deployment_facts("d", DeploymentFile(**{"provider": "openvino", "config": config} | more), EngineFile())


def audited(of_stage: list[RequestRecord], of_all: list[RequestRecord], samples: Samples, told: DeploymentFacts) -> Cancellation | None:
    everything = columns(of_all)
    residency = Residency(everything, samples.series("kv_blocks_used")[0])
    return cancellation("c2", columns(of_stage), everything, residency, samples, INTERVAL_NS, None, told)


def audit(samples: Samples, prefix_caching: bool = False) -> Cancellation:
    records = requests()
    found = audited(records, records, samples, facts(prefix_caching))
    assert found is not None
    return found


def test_let_go_at_once() -> None:
    found = audit(readings(active_after=1, used=5))
    assert (found.cancelled, found.survivors, found.wasted_tokens, found.survivor_tokens_per_s) == (1, 1, 2, 10.0)
    assert (found.let_go, found.let_go_median_ns, found.let_go_max_ns) == (1, 100 * MS, 100 * MS)
    assert found.blocks_beyond == 0  # 60 + 13 + 1 tokens at 1.3 s: 5 blocks
    assert (found.blocks_back, found.blocks_back_median_ns, found.blocks_back_max_ns) == (1, 100 * MS, 100 * MS)


def test_batch_means_that_come_back_late_and_never() -> None:
    """9 blocks in use until 700 ms, where the survivor's 60 + 7 + 1 tokens hold 5."""
    records, times = requests(), range(0, 4 * S, INTERVAL_NS)
    late = [(t, 9.0 if t < 700 * MS else 5.0) for t in times]
    samples = samples_of({("kv_blocks_used", ""): late, ("kv_block_tokens", ""): [(0, 16)]})
    found = audited(records, records, samples, facts())
    assert found and (found.blocks_back, found.blocks_back_max_ns, found.blocks_beyond) == (1, 400 * MS, 0)
    never = audit(readings(active_after=1, used=9))
    assert (never.blocks_back, never.blocks_back_median_ns, never.blocks_back_max_ns) == (0, None, None)
    assert audit(readings(active_after=1, used=9), prefix_caching=True).blocks_back is None


def test_let_go_late_and_never() -> None:
    assert audit(readings(active_after=2, used=5)).let_go_max_ns == 400 * MS
    never = audit(readings(active_after=2, used=5, active_late=2))
    assert (never.let_go, never.let_go_max_ns) == (0, None)


def test_batch_means_that_no_survivor_accounts_for() -> None:
    assert audit(readings(active_after=1, used=9)).blocks_beyond == 4
    assert audit(readings(active_after=1, used=9), prefix_caching=True).blocks_beyond is None


def test_batch_means_of_an_idle_engine_count_only_where_its_gauge_is_valid_at_rest() -> None:
    goes = requests()[1]

    def beyond(**more: object) -> int | None:
        found = audited([goes], [goes], readings(0, 4), facts(**more))  # type: ignore[arg-type]
        assert found is not None
        return found.blocks_beyond

    assert beyond() == 4
    assert beyond(provider="tensorrt_llm") is None
    assert beyond(provider="new") is None
    assert beyond(provider="new", traits={"gauges_valid_at_rest": True}) == 4
    assert beyond(mode="external") is None


def test_a_time_with_a_prefill_or_without_readings_has_no_figure() -> None:
    records = requests()
    late = request_of(S, [20 * S], input_tokens=10)
    samples = readings(active_after=1, used=9)
    found = audited(records, [*records, late], samples, facts())
    assert found is not None and found.blocks_beyond is None
    none = audited(records, records, samples_of({}), facts())
    assert none is not None and (none.let_go, none.let_go_max_ns, none.blocks_beyond) == (None, None, None)


def test_no_audit_without_planned_cancellations() -> None:
    stays, goes = requests()
    assert audited([stays], [stays, goes], readings(1, 5), facts()) is None
    goes.planned_cancel = False
    assert audited([stays, goes], [stays, goes], readings(1, 5), facts()) is None
