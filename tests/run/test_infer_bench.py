"""`trtbench bench --task infer` on models of the real Triton: unary, decoupled, strings, sequences, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.command import ran
from tests.support.triton.any_models import serve_any_models
from trtbench.cli.main import main
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("sketched_figures")]


@pytest.fixture(scope="module")
def server(installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serve_any_models(installation, tmp_path_factory.mktemp("any_models")) as running:
        yield running


class Bench:
    """One run of `trtbench bench --task infer` on a model of the server, 12 requests by 2 users where the flags do not say it."""

    def __init__(self, server: TritonServer, directory: Path, model: str, *flags: str) -> None:
        load = () if {"--request-count", "--measurement-interval"} & {*flags} else ("--request-count", "12")
        users = () if any(flag.startswith(("--concurrency", "--request-rate")) for flag in flags) else ("--concurrency", "2")
        address = ("-u", server.endpoints.grpc, "-m", model, "--metrics-url", f"{server.endpoints.metrics}/metrics")
        self._runs = directory / "runs"
        arguments = ["bench", *address, "--task", "infer", "--artifact-dir", str(self._runs), *load, *users, *flags]
        self.done = CliRunner().invoke(main, arguments, catch_exceptions=False)

    @property
    def run(self) -> RunDirectory:
        (path,) = self._runs.iterdir()
        return RunDirectory.open(path)

    @property
    def records(self) -> list[RequestRecord]:
        (deployment,) = self.run.deployments()
        return sorted(deployment.requests(), key=lambda record: record.index)

    @property
    def stage(self) -> dict[str, Any]:
        summary = json.loads((self.run.path / "summary.json").read_text())
        stage: dict[str, Any] = summary["deployments"][0]["stages"][0]
        return stage

    def completed(self) -> list[RequestRecord]:
        """The records, all of which completed."""
        assert ran(self.done.exit_code, self._runs), self.done.output
        assert {record.outcome for record in self.records} == {Outcome.COMPLETED}, {record.error for record in self.records}
        return self.records


def test_a_unary_model_with_random_data(server: TritonServer, tmp_path: Path) -> None:
    bench = Bench(server, tmp_path, "add_sub", "-b", "2")
    records = bench.completed()
    assert [record.row for record in records] == list(range(12))
    assert all(record.done_lag_ns is not None and not record.token_ns for record in records)
    stage = bench.stage
    assert stage["triton_batching"]["inferences"] == 24
    assert stage["triton_batching"]["compute_mean_ns"] > 0
    assert stage["throughput"]["inference_throughput"] == pytest.approx(2 * stage["throughput"]["request_throughput"])
    report = (bench.run.path / "report.md").read_text()
    assert "Inferences/s" in report and "random tensors, 2 item(s) per request" in report
    assert "TTFT" not in report and "tokens" not in report.split("## Environment")[0]


def test_a_decoupled_model_has_its_responses_counted(server: TritonServer, tmp_path: Path) -> None:
    """Random numbers from 0 to 3: some requests get no response at all, and complete."""
    bench = Bench(server, tmp_path, "repeat", "--input-data", "random", "--integer-max", "3")
    counts = {len(record.token_ns) for record in bench.completed()}
    assert 0 in counts and len(counts) > 1
    assert bench.stage["output_tokens"]["count"] == 12
    assert "first_response" in (bench.run.path / "report.md").read_text()


def test_strings_and_integers(server: TritonServer, tmp_path: Path) -> None:
    Bench(server, tmp_path / "strings", "strings", "-b", "3").completed()
    Bench(server, tmp_path / "integers", "integers", "--input-data", "zero").completed()


def test_an_optional_input_is_sent_if_its_shape_is_given(server: TritonServer, tmp_path: Path) -> None:
    Bench(server, tmp_path / "without", "scaled").completed()
    Bench(server, tmp_path / "with", "scaled", "--shape", "FACTOR:1").completed()


def test_sequences_keep_their_state(server: TritonServer, tmp_path: Path) -> None:
    records = Bench(server, tmp_path, "accumulate", "--sequence-length", "3").completed()
    assert [record.turn for record in records] == [0, 1, 2] * 4


def data(directory: Path, tree: object) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "data.json"
    file.write_text(json.dumps(tree), encoding="utf-8")
    return str(file)


def test_expected_outputs_are_compared(server: TritonServer, tmp_path: Path) -> None:
    """The second of three rows expects another difference than the model computes."""
    pairs = [{"INPUT0": [n, 2, 3, 4], "INPUT1": [1, 1, 1, 1]} for n in range(3)]
    expected = [{"OUTPUT0": [n + 1, 3, 4, 5], "OUTPUT1": [n - 1 if n != 1 else 9, 1, 2, 3]} for n in range(3)]
    bench = Bench(server, tmp_path, "add_sub", "--input-data", data(tmp_path, {"data": pairs, "validation_data": expected}))
    outcomes = [record.outcome for record in bench.records]
    assert outcomes == [Outcome.COMPLETED, Outcome.WRONG_OUTPUT, Outcome.COMPLETED] * 4
    assert "output OUTPUT1 has 0 at position 0, expected is 9; 1 of 4 values differ" in bench.records[1].error
    assert "wrong_output 4" in (bench.run.path / "report.md").read_text()


def test_a_decoupled_model_with_counts_and_delays(server: TritonServer, tmp_path: Path) -> None:
    entries = [{"COUNT": [count], "DELAY_MS": [20]} for count in (0, 1, 4)]
    bench = Bench(server, tmp_path, "repeat", "--input-data", data(tmp_path, {"data": entries}), "--concurrency", "1")
    records = bench.completed()
    assert [len(record.token_ns) for record in records] == [0, 1, 4] * 4
    gaps_ns = [later - before for record in records for before, later in pairwise(record.token_ns)]
    assert len(gaps_ns) == 12 and min(gaps_ns) > 15_000_000
    assert all(record.token_ns[0] - record.due_ns > 15_000_000 for record in records if record.token_ns)
    assert bench.stage["latency"]["itl_ns"]["count"] == 12


def test_states_of_sequences_are_checked_by_their_sums(server: TritonServer, tmp_path: Path) -> None:
    """Two sequences of different lengths, by two users at once: each sum is that of its own sequence alone."""
    tree = {
        "data": [[{"INPUT": [n]} for n in (1, 10, 100)], [{"INPUT": [n]} for n in (7, 7)]],
        "validation_data": [[{"OUTPUT": [n]} for n in (1, 11, 111)], [{"OUTPUT": [n]} for n in (7, 14)]],
    }
    bench = Bench(server, tmp_path, "accumulate", "--input-data", data(tmp_path, tree), "--sequence-length", "2", "--request-count", "20")
    assert [record.turn for record in bench.completed()] == [0, 1, 2, 0, 1] * 4
    assert "the sequences are those of" in json.dumps([event.data for event in bench.run.events() if event.kind == "plan_drawn"])


def test_strings_of_a_file(server: TritonServer, tmp_path: Path) -> None:
    entries = [{"INPUT0": ["a", "ä"]}, {"INPUT0": ["", "long" * 100]}]
    expected = [{"OUTPUT0": entry["INPUT0"]} for entry in entries]
    Bench(server, tmp_path, "strings", "--input-data", data(tmp_path, {"data": entries, "validation_data": expected})).completed()


def test_a_command_line_of_perf_analyzer(server: TritonServer, tmp_path: Path) -> None:
    windows = ("--measurement-interval", "300", "--stability-percentage", "60", "--max-trials", "5", "--measurement-mode", "time_windows")
    bench = Bench(server, tmp_path, "variable", "--concurrency-range", "1:3:2", "--shape", "INPUT0:5,3", "-i", "grpc", "-b", "1", *windows)
    bench.completed()
    assert {record.stage for record in bench.records} == {"c1", "c3"}
    assert "stability:" in (bench.run.path / "scenario.yaml").read_text()


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("variable", (), "input INPUT0 has the variable shape [-1, 3]: give its shape, as --shape INPUT0:N,3"),
        ("variable", ("--shape", "INPUT0:2,4"), "INPUT0 [2, 4]: the model takes [-1, 3]"),
        ("add_sub", ("-b", "9"), "the model's max_batch_size is 8"),
        ("accumulate", (), "keeps the state of sequences: give --sequence-length"),
        ("add_sub", ("--sequence-length", "3"), "keeps no state of sequences: leave out --sequence-length"),
        ("nosuch", (), "the server has no model 'nosuch'"),
    ],
)
def test_what_the_model_cannot_take_is_refused_before_the_load(
    server: TritonServer, tmp_path: Path, model: str, flags: tuple[str, ...], message: str
) -> None:
    address = ("-u", server.endpoints.grpc, "-m", model, "--task", "infer", "--artifact-dir", str(tmp_path))
    done = CliRunner().invoke(main, ["bench", *address, *flags])
    assert done.exit_code == 2 and message in done.stderr
    assert not list(tmp_path.iterdir())


def test_answers_of_another_size_and_errors_are_recorded(server: TritonServer, tmp_path: Path) -> None:
    records = Bench(server, tmp_path / "size", "wrong_size", "--request-count", "2").records
    assert {record.outcome for record in records} == {Outcome.OTHER}
    assert "output OUTPUT0 has shape [5], the model promises [4]" in records[0].error
    records = Bench(server, tmp_path / "error", "refuses", "--request-count", "2").records
    assert "this input cannot be read" in records[0].error
