from __future__ import annotations

import pytest

from trtbench.rundir.records import Sample
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.telemetry import sources
from trtbench.telemetry.sources import SOURCES, SampledServer, SamplerConfig, SourceEntry, applicable, border_sources

SERVER = SampledServer("a:1", "http://a:2/metrics", 7)
CONFIG = SamplerConfig((SERVER,), "m", client_pid=1, interval_ns=250_000_000, gpu=False)


def test_the_configuration_survives_json() -> None:
    headers = ClientSettings.model_validate({"headers": {"x-user": "a", "x-key": {"env": "KEY"}}}).headers
    tls = Tls.model_validate({"ca": "/a.pem", "server_name": "b"})
    config = SamplerConfig((SERVER, SampledServer("b:2", None, None)), "m", 1, 5, True, tls, 8, headers, "")
    assert SamplerConfig.from_json(config.to_json()) == config


def test_without_gpu_the_servers_and_the_processes_are_read() -> None:
    assert list(applicable(CONFIG)) == ["triton_statistics", "triton_metrics", "processes", "machine"]


def test_a_server_without_a_metrics_page_has_no_metrics() -> None:
    config = SamplerConfig((SampledServer("a:1", None, 7),), "m", 1, 1, False)
    assert "triton_metrics" not in applicable(config)
    assert list(border_sources(config, 1.0)) == ["triton_statistics"]


def test_a_server_that_is_no_triton_has_its_pages_and_no_statistics_of_triton() -> None:
    config = SamplerConfig((SampledServer(None, "http://a:2/metrics", None, "http://a:2/perf_metrics"),), "m", 1, 1, False)
    assert list(applicable(config)) == ["triton_metrics", "request_metrics", "processes", "machine"]
    assert list(border_sources(config, 1.0)) == ["triton_metrics"], "what a reading takes off a page has one reader"


@pytest.mark.parametrize(("found", "names"), [(True, ["gpu", "gpu_users", "gpu_errors"]), (False, ["gpu"])])
def test_a_machine_without_gpus_reports_it_in_one_source(monkeypatch: pytest.MonkeyPatch, found: bool, names: list[str]) -> None:
    monkeypatch.setattr(sources, "_machine_has_gpus", lambda: found)
    config = SamplerConfig((SERVER,), "m", 1, 250_000_000, gpu=True)
    assert [name for name in applicable(config) if name.startswith("gpu")] == names


def test_slow_sources_are_read_once_a_second() -> None:
    assert SOURCES["gpu"].interval_ns(CONFIG) == 250_000_000
    assert SOURCES["gpu_users"].interval_ns(CONFIG) == 1_000_000_000


class _Fake:
    def read(self) -> list[Sample]:
        return [Sample(1, "fake", "", 2.0)]

    def close(self) -> None:
        """Nothing is open."""


def test_a_source_is_added_by_its_line_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "fake", SourceEntry(lambda config, timeout_s: _Fake(), at_borders=True))
    assert "fake" in applicable(CONFIG)
    assert border_sources(CONFIG, 1.0)["fake"]().read() == [Sample(1, "fake", "", 2.0)]
