"""A run directory made of the report of another tool."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from trtbench.errors import UserError
from trtbench.experiments.imported.analysis import MODE
from trtbench.experiments.imported.foreign_report import TOOL, Iteration, iteration_of, report_of
from trtbench.run.log import start_run
from trtbench.run.result_importer import ResultImporter
from trtbench.rundir.deployment_facts import DeploymentFile
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import DeploymentFinished, DeploymentStarted, EventData, RunFinished, StageFinished
from trtbench.rundir.events import event_of
from trtbench.rundir.experiment_events import ResultsImported
from trtbench.rundir.lines import LineWriter, read_json, sample_row
from trtbench.rundir.records import Sample
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.system.input_file import read_lines_of

_DTYPES = {"bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "fp16": "fp16"}
_MOST_USERS = 100_000


def import_trtllm_bench(report: Path, log: Path | None, runs: Path, command: list[str]) -> tuple[RunDirectory, str]:
    """(The run directory, a sentence on the lines of the log) of a --report_json and an --iteration_log of trtllm-bench.

    UserError for a file that cannot be read or is not such a report.
    """
    try:
        content = read_json(report)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{report} cannot be read as JSON ({error}): give the file of trtllm-bench's --report_json") from error
    try:
        imported = report_of(content, report.name)
    except ValueError as error:
        raise UserError(str(error)) from error
    iterations, said = _iterations(log) if log else ((), "")
    run = start_run(runs, _scenario(imported), command, lambda event: None).run
    _write(run, imported, iterations)
    return run, said


def _iterations(path: Path) -> tuple[tuple[Iteration, ...], str]:
    lines = [(number, iteration_of(text)) for number, text in read_lines_of(path)]
    used = sorted((one for _, one in lines if one), key=lambda one: one.time_ns)
    lost = [number for number, one in lines if one is None]
    if not used:
        raise UserError(f"{path} has no line with a timestamp of trtllm-bench: give the file that it wrote by --iteration_log")
    said = f"{path}: {len(used)} iterations"
    return tuple(used), f"{said}; {len(lost)} lines cannot be used (first: line {lost[0]})" if lost else said


def _known(imported: ResultsImported, name: str, default: float) -> float:
    return next((figure.value for figure in imported.figures if figure.name == name), default)


def _scenario(imported: ResultsImported) -> Scenario:
    """A scenario that describes the load as far as the report does: the mean number of requests in flight as users."""
    facts = imported.facts
    users = min(_MOST_USERS, max(1, round(_known(imported, "request_info.avg_num_concurrent_requests", 1))))
    requests = max(users, round(_known(imported, "request_info.num_requests", 1)))
    quantised = "FP8" in facts.get("engine.quantization", "").upper()
    tree = {
        "name": TOOL,
        "purpose": f"figures that {TOOL} measured, imported from {imported.file}",
        "model": facts.get("engine.model") or facts.get("engine.model_path") or TOOL,
        "engines": ["fp8" if quantised else _DTYPES.get(facts.get("engine.dtype", ""), "fp16")],
        "workload": {
            "input_tokens": max(1, round(_known(imported, "request_info.avg_input_length", 1))),
            "output_tokens": max(1, round(_known(imported, "request_info.avg_output_length", 1))),
        },
        "load": [{"name": "imported", "concurrency": users, "requests": requests}],
    }
    return parse_scenario(tree, TOOL)


def _write(run: RunDirectory, imported: ResultsImported, iterations: Iterable[Iteration]) -> None:
    """The events and samples, moved to the clock of this run directory from now on."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", TOOL)
    directory, start_ns = run.deployment(name), now_ns()
    rows = list(iterations)
    first_ns = rows[0].time_ns if rows else 0
    span_ns = rows[-1].time_ns - first_ns if rows else 0
    end_ns = start_ns + max(span_ns, round(_known(imported, "performance.total_latency_ms", 0) * 1e6)) + NS_PER_S

    def write(time_ns: int, data: EventData, deployment: str = name) -> None:
        run.append_event(event_of(time_ns, data, deployment))

    write(start_ns, DeploymentStarted())
    write(start_ns, imported, "")
    samples, requests = LineWriter(directory.samples_jsonl), LineWriter(directory.requests_jsonl())
    samples.write(*chain.from_iterable(_rows(one, start_ns - first_ns) for one in rows))
    samples.close()
    requests.close()
    directory.write_deployment(DeploymentFile(name=name, mode=MODE, model_name=imported.facts.get("engine.model", TOOL)))
    users = _known(imported, "request_info.avg_num_concurrent_requests", 1)
    write(end_ns, StageFinished("imported", "concurrency", users, start_ns, end_ns, 0, "done"))
    write(end_ns, DeploymentFinished(ended="done"))
    write(end_ns, RunFinished(), "")
    directory.seal()


def _rows(one: Iteration, shift_ns: int) -> list[list[object]]:
    return [sample_row(Sample(one.time_ns + shift_ns, series, "", value)) for series, value in one.values.items()]


IMPORTER = ResultImporter({TOOL: import_trtllm_bench})
