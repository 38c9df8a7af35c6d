from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from tritonclient.grpc import service_pb2

from trtbench.system.clock import now_ns
from trtbench.telemetry.metrics_page import MetricsPage
from trtbench.telemetry.triton import Statistics, statistics_samples

FIXTURES = Path(__file__).parents[1] / "fixtures"


def _recorded() -> Any:
    return Parse((FIXTURES / "statistics_triton_2.51.0.json").read_text(), service_pb2.ModelStatisticsResponse())


def test_recorded_statistics_are_summed_over_versions() -> None:
    samples = statistics_samples(_recorded(), 5)
    assert {sample.time_ns for sample in samples} == {5}
    assert {(sample.name, sample.label): sample.value for sample in samples} == {
        ("triton_inference_count", ""): 40,
        ("triton_execution_count", ""): 8,
        ("triton_success_count", ""): 40,
        ("triton_fail_count", ""): 0,
        ("triton_queue_ns", ""): 1013956126 + 541940152,
        ("triton_compute_input_ns", ""): 2957840 + 1721578,
        ("triton_compute_infer_ns", ""): 326086100 + 368967265,
        ("triton_compute_output_ns", ""): 13949380 + 15470974,
        ("triton_batch_executions", "1"): 1,
        ("triton_batch_executions", "4"): 4,
        ("triton_batch_executions", "7"): 1,
        ("triton_batch_executions", "8"): 2,
    }


def test_batch_histogram_adds_up_to_the_counters() -> None:
    values = {(sample.name, sample.label): sample.value for sample in statistics_samples(_recorded(), 0)}
    batches = {int(label): count for (name, label), count in values.items() if name == "triton_batch_executions"}
    assert sum(batches.values()) == values["triton_execution_count", ""]
    assert sum(size * count for size, count in batches.items()) == values["triton_inference_count", ""]


def test_a_model_that_never_ran_still_has_its_zero_counters() -> None:
    reply = service_pb2.ModelStatisticsResponse(model_stats=[service_pb2.ModelStatistics(name="m", version="1")])
    values = {sample.name: sample.value for sample in statistics_samples(reply, 0)}
    assert values["triton_inference_count"] == 0  # a counter that is there and zero, not one that is missing
    assert "triton_batch_executions" not in values


def test_no_version_gives_no_samples() -> None:
    assert statistics_samples(service_pb2.ModelStatisticsResponse(), 0) == []


def test_reads_statistics_over_grpc(fake_triton: Any) -> None:
    before_ns = now_ns()
    with closing(Statistics(fake_triton.grpc_address, "demo", timeout_s=5)) as source:
        samples = source.read()
    assert before_ns <= samples[0].time_ns <= now_ns()
    assert samples == statistics_samples(_recorded(), samples[0].time_ns)


def test_statistics_of_an_unknown_model_raise(fake_triton: Any) -> None:
    with closing(Statistics(fake_triton.grpc_address, "absent", timeout_s=5)) as source, pytest.raises(grpc.RpcError, match="absent"):
        source.read()


def test_statistics_raise_when_the_server_is_gone(fake_triton: Any) -> None:
    with closing(Statistics(fake_triton.grpc_address, "demo", timeout_s=1)) as source:
        source.read()
        fake_triton.stop()
        with pytest.raises(grpc.RpcError):
            source.read()


def test_page_keeps_its_connection(fake_triton: Any) -> None:
    with closing(MetricsPage(fake_triton.metrics_url, "demo", timeout_s=5)) as source:
        readings = [source.read() for _ in range(3)]
    assert [[sample.name for sample in samples] for samples in readings] == [["triton_pending_requests"]] * 3
    assert fake_triton.connections == 1


def test_page_that_hangs_times_out_and_the_next_reading_works(fake_triton: Any) -> None:
    with closing(MetricsPage(fake_triton.metrics_url, "demo", timeout_s=0.2)) as source:
        fake_triton.answer.clear()
        with pytest.raises(OSError, match="timed out"):
            source.read()
        fake_triton.answer.set()
        assert source.read()


def test_page_of_another_status_raises_and_keeps_working(fake_triton: Any) -> None:
    with closing(MetricsPage(fake_triton.metrics_url, "demo", timeout_s=5)) as source:
        fake_triton.status = 503
        with pytest.raises(http.client.HTTPException, match="503"):
            source.read()
        fake_triton.status = 200
        assert source.read()


@pytest.mark.parametrize("url", ["127.0.0.1:8002/metrics", "https://a/metrics", "/metrics", "http:///metrics"])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:PORT/metrics"):
        MetricsPage(url, "demo", timeout_s=1)


def test_a_response_cache_is_sampled_from_its_first_lookup() -> None:
    reply = service_pb2.ModelStatisticsResponse()
    summed = reply.model_stats.add(name="m", version="1").inference_stats
    assert not [sample for sample in statistics_samples(reply, 5) if sample.name.startswith("response_cache")]
    summed.cache_miss.count, summed.cache_miss.ns = 3, 60
    told = {sample.name: sample.value for sample in statistics_samples(reply, 5)}
    assert (told["response_cache_hit_count"], told["response_cache_miss_count"], told["response_cache_miss_ns"]) == (0, 3, 60)
