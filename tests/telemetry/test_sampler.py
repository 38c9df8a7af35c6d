from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from trtbench.rundir.lines import LineWriter, read_lines, sample_row
from trtbench.rundir.records import Sample
from trtbench.system.clock import now_ns, sleep_s
from trtbench.telemetry import borders
from trtbench.telemetry.sampler import Sampler, SamplerError
from trtbench.telemetry.sources import SampledServer, SamplerConfig

pytestmark = pytest.mark.timeout(60)


def _config(triton: Any, **changes: Any) -> SamplerConfig:
    facts = {
        "servers": (SampledServer(triton.grpc_address, triton.metrics_url, None),),
        "model": "demo",
        "client_pid": os.getpid(),
        "interval_ns": 50_000_000,
        "gpu": False,
    }
    return SamplerConfig(**facts | changes)


@contextmanager
def sampling(config: SamplerConfig, samples_jsonl: Path) -> Iterator[Sampler]:
    with Sampler(config, samples_jsonl) as sampler:
        sampler.wait_ready()
        yield sampler


def test_samples_every_source_on_the_runs_clock(fake_triton: Any, tmp_path: Path) -> None:
    before_ns = now_ns()
    with sampling(_config(fake_triton), tmp_path / "samples.jsonl") as sampler:
        sleep_s(1)
    rows = [Sample(*row) for row in read_lines(tmp_path / "samples.jsonl")]
    counts = Counter(sample.name for sample in rows)
    for name in ("triton_inference_count", "triton_pending_requests", "client_rss_bytes", "client_cpu_cores", "machine_cpu_ratio"):
        assert counts[name] >= 3, name
    assert all(before_ns <= sample.time_ns <= now_ns() for sample in rows)
    assert set(sampler.tallies) == {"triton_statistics", "triton_metrics", "processes", "machine"}
    for name, tally in sampler.tallies.items():
        assert tally.readings >= 3, name
        assert (tally.failures, tally.last_error) == (0, "")
    assert counts["triton_inference_count"] == sampler.tallies["triton_statistics"].readings


def test_a_source_that_fails_leaves_the_others_alone(fake_triton: Any, tmp_path: Path) -> None:
    fake_triton.answer.clear()  # the page hangs
    with sampling(_config(fake_triton, model="absent"), tmp_path / "samples.jsonl") as sampler:
        sleep_s(1.5)
        fake_triton.answer.set()
    names = Counter(row[1] for row in read_lines(tmp_path / "samples.jsonl"))
    assert names["client_rss_bytes"] >= 5
    assert names["machine_memory_available_bytes"] >= 5
    assert not any(name.startswith("triton") for name in names)
    assert "absent" in sampler.tallies["triton_statistics"].last_error
    assert sampler.tallies["triton_metrics"].failures >= 1
    assert sampler.tallies["triton_metrics"].skipped >= 5


def test_a_server_that_goes_and_comes_back_is_read_again(fake_triton: Any, tmp_path: Path) -> None:
    with sampling(_config(fake_triton), tmp_path / "samples.jsonl") as sampler:
        sleep_s(0.3)
        fake_triton.status = 500
        sleep_s(0.3)
        fake_triton.status = 200
        broken_until_ns = now_ns()
        sleep_s(0.5)
    assert sampler.tallies["triton_metrics"].failures >= 1
    times = [row[0] for row in read_lines(tmp_path / "samples.jsonl") if row[1] == "triton_pending_requests"]
    assert min(times) < broken_until_ns < max(times)


def test_several_processes_append_whole_lines(fake_triton: Any, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    writer = LineWriter(path)
    with sampling(_config(fake_triton), path):
        for index in range(2000):
            writer.write(sample_row(Sample(now_ns(), "ours", "", index)))
        sleep_s(0.2)
    writer.close()
    rows = list(read_lines(path))
    assert [row[3] for row in rows if row[1] == "ours"] == list(range(2000))
    assert len({row[1] for row in rows}) > 5


def test_snapshot_is_appended_and_returned(fake_triton: Any, tmp_path: Path) -> None:
    with sampling(_config(fake_triton, interval_ns=3_600_000_000_000), tmp_path / "samples.jsonl") as sampler:
        before_ns = now_ns()
        samples = sampler.snapshot()
        after_ns = now_ns()
    assert {"triton_execution_count", "triton_pending_requests"} <= {sample.name for sample in samples}
    assert all(before_ns <= sample.time_ns <= after_ns for sample in samples)
    assert samples == [s for s in (Sample(*row) for row in read_lines(tmp_path / "samples.jsonl")) if s in samples]


def test_a_border_of_a_lost_server_has_what_still_answers(fake_triton: Any, tmp_path: Path) -> None:
    def names(**changes: Any) -> set[str]:
        border = Sampler(_config(fake_triton, **changes), tmp_path / "samples.jsonl").read_border()
        assert (border.counted_ns is None) == ("triton_success_count" not in {sample.name for sample in border.samples})
        return {sample.name for sample in border.samples}

    assert names(model="absent") == set()
    assert names(servers=(SampledServer("127.0.0.1:1", fake_triton.metrics_url, None),)) == {"triton_pending_requests"}
    assert "triton_pending_requests" not in names(servers=(SampledServer(fake_triton.grpc_address, None, None),))


def test_statistics_that_hang_are_noted_and_given_less_time(fake_triton: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borders, "_ANSWER_S", 0.4)
    monkeypatch.setattr(borders, "_ANSWER_HUNG_S", 0.1)
    fake_triton.count.clear()
    with sampling(_config(fake_triton, interval_ns=3_600_000_000_000), tmp_path / "samples.jsonl") as sampler:
        read = [{sample.name for sample in sampler.snapshot()} for _ in range(3)]
        fake_triton.count.set()
    assert read == [{"triton_pending_requests"}] * 3
    tally = sampler.tallies["triton_statistics_at_borders"]
    assert (tally.readings, tally.failures) == (0, 3)
    assert "no answer within 0.1 s" in tally.last_error and "DEADLINE_EXCEEDED" in tally.last_error
    assert (sampler.tallies["triton_metrics_at_borders"].readings, sampler.tallies["triton_metrics_at_borders"].failures) == (3, 0)


def test_leaves_no_process(fake_triton: Any, tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with sampling(_config(fake_triton), tmp_path / "samples.jsonl"):
        assert len(set(psutil.Process().children()) - before) == 1
    assert set(psutil.Process().children()) == before


def test_ignores_ctrl_c_and_ends_on_sigterm(fake_triton: Any, tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with sampling(_config(fake_triton), tmp_path / "samples.jsonl") as sampler:
        (process,) = set(psutil.Process().children()) - before
        assert os.getpgid(process.pid) != os.getpgid(0)
        process.send_signal(signal.SIGINT)
        sleep_s(0.3)
        assert process.status() != psutil.STATUS_ZOMBIE
        process.send_signal(signal.SIGTERM)
        _wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert sampler.tallies["processes"].readings > 0  # it ended in good order


def test_a_killed_sampler_is_reported_and_harms_nothing(fake_triton: Any, tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with sampling(_config(fake_triton), tmp_path / "samples.jsonl") as sampler:
        (process,) = set(psutil.Process().children()) - before
        process.kill()
        _wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert sampler.tallies["sampler"].failures == 1
    assert "its process ended early: exit status -9" in sampler.tallies["sampler"].last_error


def test_dies_with_a_parent_that_is_killed(fake_triton: Any, tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from trtbench.telemetry import borders
from trtbench.telemetry.sampler import Sampler
from trtbench.telemetry.sources import SampledServer, SamplerConfig
with Sampler(SamplerConfig.from_json({_config(fake_triton).to_json()!r}), Path({str(tmp_path / "samples.jsonl")!r})) as sampler:
    sampler.wait_ready()
    print(sampler._process.pid, flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_sampler_that_is_ended_while_it_starts_has_tallies(fake_triton: Any, tmp_path: Path) -> None:
    with Sampler(_config(fake_triton), tmp_path / "samples.jsonl") as sampler:
        pass
    assert set(sampler.tallies) in ({"triton_statistics", "triton_metrics", "processes", "machine"}, {"sampler"})


def test_says_why_it_does_not_start(fake_triton: Any, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(SamplerError, match="No such file or directory"), sampling(_config(fake_triton), tmp_path / "absent" / "s.jsonl"):
        pytest.fail("must not start")
    assert {child.pid for child in psutil.Process().children()} <= before


def _wait_for(condition: Any, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        sleep_s(0.02)
