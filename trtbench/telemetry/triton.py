"""Readings of a running Triton's statistics over gRPC (docs/telemetry.md).

A reading is stamped with the middle between question and answer, so it is at most half a round trip off.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.scenario.load.client_settings import Tls
from trtbench.system.clock import now_ns

_STATISTICS_METHOD = "/inference.GRPCInferenceService/ModelStatistics"
_CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_reconnect_backoff_ms", 1000),  # by default, a server that was away is asked again only after up to two minutes
)


class Statistics:
    """Triton's ModelStatistics of one model, the connection kept open."""

    def __init__(
        self, grpc_address: str, model: str, timeout_s: float, tls: Tls | None = None, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        # Imported at first use, because it takes 0.16 s, which commands that need no server must not spend.
        import grpc
        from tritonclient.grpc import service_pb2

        self._request = service_pb2.ModelStatisticsRequest(name=model)
        self._timeout_s, self._metadata = timeout_s, metadata
        if tls is None:
            self._channel = grpc.insecure_channel(grpc_address, options=_CHANNEL_OPTIONS)
        else:
            ca, key, certificate = (path.read_bytes() if path else None for path in (tls.ca, tls.key, tls.certificate))
            name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            self._channel = grpc.secure_channel(
                grpc_address, grpc.ssl_channel_credentials(ca, key, certificate), options=(*_CHANNEL_OPTIONS, *name)
            )
        self._ask = self._channel.unary_unary(
            _STATISTICS_METHOD,
            request_serializer=service_pb2.ModelStatisticsRequest.SerializeToString,
            response_deserializer=service_pb2.ModelStatisticsResponse.FromString,
        )

    def read(self) -> list[Sample]:
        """One reading; grpc.RpcError when there is no answer or no such model."""
        asked_ns = now_ns()
        reply = self._ask(self._request, timeout=self._timeout_s, metadata=self._metadata)
        return statistics_samples(reply, (asked_ns + now_ns()) // 2)

    def close(self) -> None:
        self._channel.close()


def statistics_samples(reply: Any, time_ns: int) -> list[Sample]:
    """Samples of an `inference.ModelStatisticsResponse`, summed over the model's versions; none when it lists no version."""
    totals: Counter[tuple[SeriesName, str]] = Counter()
    for version in reply.model_stats:
        totals.update(_version_totals(version))
    return [Sample(time_ns, name, label, float(value)) for (name, label), value in totals.items()]


def _version_totals(version: Any) -> dict[tuple[SeriesName, str], int]:
    summed = version.inference_stats
    totals: dict[tuple[SeriesName, str], int] = {
        ("triton_inference_count", ""): version.inference_count,
        ("triton_execution_count", ""): version.execution_count,
        ("triton_success_count", ""): summed.success.count,
        ("triton_fail_count", ""): summed.fail.count,
        ("triton_queue_ns", ""): summed.queue.ns,
        ("triton_compute_input_ns", ""): summed.compute_input.ns,
        ("triton_compute_infer_ns", ""): summed.compute_infer.ns,
        ("triton_compute_output_ns", ""): summed.compute_output.ns,
    }
    if summed.cache_hit.count or summed.cache_miss.count:
        totals |= {
            ("response_cache_hit_count", ""): summed.cache_hit.count,
            ("response_cache_hit_ns", ""): summed.cache_hit.ns,
            ("response_cache_miss_count", ""): summed.cache_miss.count,
            ("response_cache_miss_ns", ""): summed.cache_miss.ns,
        }
    return totals | {("triton_batch_executions", str(batch.batch_size)): batch.compute_infer.count for batch in version.batch_stats}
