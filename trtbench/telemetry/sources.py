"""What the sampler reads: `SOURCES` has a line for each source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

from pydantic import TypeAdapter

from trtbench.scenario.load.client_settings import Tls
from trtbench.scenario.load.headers import Headers, metadata_of
from trtbench.system.clock import NS_PER_S
from trtbench.telemetry.metrics_page import MetricsPage
from trtbench.telemetry.process import Machine, Processes
from trtbench.telemetry.request_metrics import RequestMetrics
from trtbench.telemetry.ticker import OfClasses, Source, together
from trtbench.telemetry.triton import Statistics


@dataclass(frozen=True)
class SampledServer:
    """What is read of one server; each is None where it has none, or does not show it.

    `statistics_address`: HOST:PORT of a Triton's gRPC service. `requests_url`: a page of finished requests (request_metrics.py).
    """

    statistics_address: str | None
    metrics_url: str | None
    pid: int | None
    requests_url: str | None = None


@dataclass(frozen=True)
class SamplerConfig:
    """What is sampled. All of several servers are of one kind and show the same; `balancer_pid` is None without a balancer."""

    servers: tuple[SampledServer, ...]
    model: str
    client_pid: int
    interval_ns: int
    gpu: bool
    tls: Tls | None = None
    balancer_pid: int | None = None
    headers: Headers = field(default_factory=dict)
    engine_model: str | None = None  # the model that has the engine's metrics, where it is another than `model`; "": any
    models_of_classes: Mapping[str, str] = field(default_factory=dict)  # in place of `model`, where length classes are served apart

    @property
    def server_pids(self) -> list[int]:
        """Processes of the servers that this run started."""
        return [server.pid for server in self.servers if server.pid is not None]

    @property
    def statistics_addresses(self) -> list[str]:
        return [server.statistics_address for server in self.servers if server.statistics_address is not None]

    @property
    def requests_urls(self) -> list[str]:
        return [server.requests_url for server in self.servers if server.requests_url is not None]

    @property
    def metrics_urls(self) -> list[str]:
        return [server.metrics_url for server in self.servers if server.metrics_url is not None]

    def to_json(self) -> str:
        return TypeAdapter(SamplerConfig).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> SamplerConfig:
        return TypeAdapter(SamplerConfig).validate_json(text)


@dataclass(frozen=True)
class SourceEntry:
    """A source: its opening, from the configuration and the time limit of one answer in seconds, and the times at which it is read."""

    open: Callable[[SamplerConfig, float], Source]
    applies: Callable[[SamplerConfig], bool] = lambda config: True
    shortest_interval_ns: int = 0
    at_borders: bool = False  # the run's own process reads it between two stages too (borders.py)

    def interval_ns(self, config: SamplerConfig) -> int:
        return max(config.interval_ns, self.shortest_interval_ns)


def _statistics(config: SamplerConfig, timeout_s: float) -> Source:
    metadata = metadata_of(config.headers)

    def of_model(address: str, model: str) -> Source:
        return Statistics(address, config.engine_model or model, timeout_s, config.tls, metadata)

    return together([_of_server(config, partial(of_model, address)) for address in config.statistics_addresses])


def _metrics(config: SamplerConfig, timeout_s: float) -> Source:
    def of_model(url: str, model: str) -> Source:
        return MetricsPage(url, model, timeout_s, config.engine_model)

    return together([_of_server(config, partial(of_model, url)) for url in config.metrics_urls])


def _of_server(config: SamplerConfig, of_model: Callable[[str], Source]) -> Source:
    """The readings of the model, or of the model of each length class."""
    if not config.models_of_classes:
        return of_model(config.model)
    return OfClasses({name: of_model(model) for name, model in config.models_of_classes.items()})


def _requests(config: SamplerConfig, timeout_s: float) -> Source:
    return together([RequestMetrics(url, timeout_s) for url in config.requests_urls])


def _gpus(config: SamplerConfig, timeout_s: float) -> Source:
    from trtbench.telemetry import nvml

    return nvml.Gpus()


def _gpu_users(config: SamplerConfig, timeout_s: float) -> Source:
    from trtbench.telemetry import nvml

    return nvml.GpuUsers(config.server_pids, config.client_pid)


def _gpu_errors(config: SamplerConfig, timeout_s: float) -> Source:
    from trtbench.telemetry import nvml

    return nvml.GpuErrors()


@cache
def _machine_has_gpus() -> bool:
    from trtbench.gpu.inventory import describe

    return bool(describe())


def _has_gpus(config: SamplerConfig) -> bool:
    return config.gpu and _machine_has_gpus()


SOURCES: dict[str, SourceEntry] = {
    "triton_statistics": SourceEntry(_statistics, lambda config: bool(config.statistics_addresses), at_borders=True),
    "triton_metrics": SourceEntry(_metrics, lambda config: bool(config.metrics_urls), at_borders=True),
    "request_metrics": SourceEntry(_requests, lambda config: bool(config.requests_urls)),
    "processes": SourceEntry(lambda config, _: Processes(config.server_pids, config.client_pid, os.getpid(), config.balancer_pid)),
    "machine": SourceEntry(lambda config, _: Machine()),
    "gpu": SourceEntry(_gpus, lambda config: config.gpu),  # without a GPU it says why there is none
    "gpu_users": SourceEntry(_gpu_users, _has_gpus, shortest_interval_ns=NS_PER_S),
    "gpu_errors": SourceEntry(_gpu_errors, _has_gpus, shortest_interval_ns=NS_PER_S),
}


def applicable(config: SamplerConfig) -> dict[str, SourceEntry]:
    return {name: entry for name, entry in SOURCES.items() if entry.applies(config)}


def border_sources(config: SamplerConfig, timeout_s: float) -> dict[str, Callable[[], Source]]:
    """The opening of each source that is read at the borders of stages, by name."""
    return {name: partial(entry.open, config, timeout_s) for name, entry in SOURCES.items() if entry.at_borders and entry.applies(config)}
