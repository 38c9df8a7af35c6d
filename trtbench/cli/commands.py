"""Actions and output of the commands, except `report` (reporting.py)."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from trtbench.cli.compare.comparison_console import show_gates
from trtbench.cli.compare.exit_codes import FAULT, code_of_decisions, code_of_verdict
from trtbench.cli.console import Console, gpu_line
from trtbench.cli.doctor import examine
from trtbench.cli.dry_run import about, dry_bench, preview_in_place_of_load
from trtbench.cli.flags.bench_scenario import bench_scenario
from trtbench.cli.flags.explained import BENCH_FLAGS, named_by_flags, named_by_keys
from trtbench.cli.flags.header_flags import without_values
from trtbench.cli.flags.values import check_files
from trtbench.cli.reporting import report_run
from trtbench.compare.compared_runs import ReadRun
from trtbench.compare.slo_gate import slo_decisions
from trtbench.engine.build import PROVIDERS
from trtbench.engine.checkpoint import cache_directory
from trtbench.errors import UserError, in_one_line
from trtbench.load.tally import LoadProgress
from trtbench.load.worker_handle import WorkerError
from trtbench.report.kit.words import Words
from trtbench.run.execute import restore_left_gpus, resume, serve_and_bench
from trtbench.run.log import RunOutcome
from trtbench.run.resolve.preview import preview
from trtbench.run.resolve.resolved_endpoint import resolve_endpoint
from trtbench.run.serve import serve
from trtbench.scenario.parts.choices import Language
from trtbench.scenario.reading import find_scenario, load_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.installation import find_tritonserver, libpython
from trtbench.serving.server.server import ServerError
from trtbench.system import packaged_data
from trtbench.system.foreign_text import harmless
from trtbench.system.interrupts import Ending, came, exit_code, signals_end_in_their_codes
from trtbench.telemetry.sampler import SamplerError


def serve_and_bench_command(
    path: Path, overrides: tuple[str, ...], search: bool, runs: Path, language: Language, quiet: bool, strict: bool
) -> int:
    return run_scenario(asked_for(path, overrides, search), runs, language, quiet, strict)


def run_scenario(scenario: Scenario, runs: Path, language: Language, quiet: bool, strict: bool = False) -> int:
    put_back_left_gpus()
    progress = LoadProgress()
    with named_by_keys(), faults_end_in_one_line() as fault, Console(progress, quiet) as console:
        outcome = serve_and_bench(scenario, runs, sys.argv, console, progress)
    return fault.code or _finish_or_say_how_to_go_on(outcome, language, strict)


def resume_command(run_dir: Path, language: Language, quiet: bool, strict: bool) -> int:
    put_back_left_gpus()
    progress = LoadProgress()
    with named_by_keys(), faults_end_in_one_line() as fault, Console(progress, quiet) as console:
        outcome = resume(run_dir, sys.argv, console, progress)
    return fault.code or _finish_or_say_how_to_go_on(outcome, language, strict)


def bench_command(*, lang: Language, quiet: bool, strict: bool, artifact_dir: Path, dry_run: bool, **flags: Any) -> int:
    """Every flag is checked before the server is asked anything."""
    scenario = bench_scenario(flags)
    check_files(flags | {"artifact_dir": artifact_dir})
    with named_by_flags(BENCH_FLAGS):
        if dry_run:
            dry_bench(resolve_endpoint(scenario))
            return 0
        put_back_left_gpus()
        progress = LoadProgress()
        with faults_end_in_one_line() as fault, Console(progress, quiet) as console:
            outcome = serve_and_bench(scenario, artifact_dir, without_values(sys.argv), console, progress)
    return fault.code or _finish(outcome, lang, strict)


def _finish(outcome: RunOutcome, language: Language, strict: bool) -> int:
    """Report what was recorded, and return the exit code of the way in which the run ended."""
    summary = report_run(outcome.run.path, language)
    if outcome.interrupted_by is not None:
        return 128 + outcome.interrupted_by
    if code := FAULT if outcome.lost else code_of_verdict(summary, strict):
        return code
    decisions = slo_decisions(ReadRun(outcome.run.path, summary))
    show_gates(decisions, Words(language, summary.scenario.task))
    return code_of_decisions(decisions)


def _finish_or_say_how_to_go_on(outcome: RunOutcome, language: Language, strict: bool) -> int:
    code = _finish(outcome, language, strict)
    if outcome.interrupted_by is not None or outcome.lost:
        print(f"To resume the run: trtbench serve-and-bench --resume {shlex.quote(str(outcome.run.path))}", file=sys.stderr)
    return code


def asked_for(path: Path, overrides: tuple[str, ...], search: bool) -> Scenario:
    """The scenario with the overrides of the command line. UserError for `search` without a grid."""
    scenario = load_scenario(find_scenario(path), overrides)
    if search and scenario.grid is None:
        raise UserError(f"--search: {path} has no grid to search; drop --search, or give it a grid")
    return load_scenario(find_scenario(path), (*overrides, "grid.search=true")) if search else scenario


def serve_command(
    path: Path, overrides: tuple[str, ...], dtype: str | None, deployment: str | None, ports: tuple[int, int, int], quiet: bool
) -> int:
    scenario = load_scenario(find_scenario(path), overrides)
    put_back_left_gpus()
    with faults_end_in_one_line() as fault, Console(LoadProgress(), quiet) as console:
        serve(scenario, dtype, deployment, ports, console)
    return fault.code


def scenarios_command() -> None:
    table = Table("name", "purpose", "load on each engine", "requests")
    for path in sorted(packaged_data.SCENARIOS.glob("*.yaml")):
        plan = preview(scenario := load_scenario(path).expanded(), {})
        duration = about(sum(stage.duration_s for stage in plan.stages), any(stage.estimated for stage in plan.stages))
        by_time = any(stage.requests is None for stage in plan.stages)
        requests = "until time is up" if by_time else str(plan.requests)
        if preview_in_place_of_load(scenario):
            duration, requests = "a search", "as many as it takes"
        table.add_row(scenario.name, Text(scenario.purpose), duration, requests)
    RichConsole(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)


def schema_command() -> None:
    print(json.dumps(Scenario.model_json_schema(), indent=2))


def doctor_command() -> int:
    """The exit code: 1 if something that trtbench needs is missing."""
    checks = examine(
        tritonserver=lambda: f"{(found := find_tritonserver()).binary} ({found.source}, Triton {found.version})",
        libpython=libpython,
        providers={provider.name: provider.unavailable() for provider in PROVIDERS.values()},
        cache=cache_directory(),
        output=Path("runs"),
    )
    for check in checks:
        print(harmless(f"{check.status:4}  {check.name}: {check.found}" + (f"\n      {check.remedy}" if check.remedy else "")))
    return int(any(check.status == "fail" for check in checks))


def put_back_left_gpus() -> None:
    for journal in restore_left_gpus(lambda data: print(gpu_line(data), file=sys.stderr)):
        print(f"GPU {journal.index} is held by {journal.owner}: the two runs disturb each other", file=sys.stderr)


@contextmanager
def faults_end_in_one_line() -> Iterator[Ending]:
    """Ends the command with exit code 1 and one message for a fault of the run, and with the signal's own exit code for a signal."""
    with signals_end_in_their_codes() as fault:
        try:
            yield fault
        except UserError:
            raise
        except (ServerError, SamplerError, WorkerError, OSError) as error:
            print(harmless(f"trtbench: {in_one_line(error)}"), file=sys.stderr)
            if signum := came():  # an interrupt in an import can end it by another error
                fault.code = exit_code(signum)
                return
            if isinstance(error, (WorkerError, OSError)):
                print("What was recorded until then is in the run directory; `trtbench report` reads it.", file=sys.stderr)
            fault.code = 1
