"""The command line: parse, call, print, exit code.

docs/exit-codes.md has the exit codes. trtbench's own modules are imported inside the commands, so that `trtbench report` starts fast and
imports only what it needs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

import click

from trtbench import __version__
from trtbench.cli.capacity import capacity
from trtbench.cli.compare.baselines import baseline
from trtbench.cli.compare.comparing import compare
from trtbench.cli.dataset import dataset
from trtbench.cli.describing import doctor, scenarios, schema
from trtbench.cli.exporting import export
from trtbench.cli.flags.cost_flags import cost_of, cost_options, cost_overrides
from trtbench.cli.flags.translation import CommandGroup
from trtbench.cli.flags.values import Place, PlaceName, Real, Text, Whole
from trtbench.cli.importing import import_results
from trtbench.cli.options_of_bench import BENCH_EXAMPLES, bench_options
from trtbench.cli.options_of_build import BUILD_EXAMPLES, build_options
from trtbench.errors import UserError
from trtbench.scenario.parts.choices import MOST_ROUNDS, ComputeMode, Dtype, Language, ProviderName

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before gRPC is imported: its log repeats what trtbench's errors state

RUN_EXAMPLES = """\b
Examples:
  trtbench serve-and-bench quickstart
  trtbench serve-and-bench quickstart --set load.0.requests=20 --set engines=[int8]
"""
_NEW_RUN = ("search", "dry_run", "runs", "engine_dir", "repeats", "gpu_hour_price", "gpu_count")
_NOT_WITH_RESUME = {"scenario": "SCENARIO", "overrides": "--set"} | {name: f"--{name.replace('_', '-')}" for name in _NEW_RUN}
_LANGUAGES = click.Choice(get_args(Language))


@click.group(cls=CommandGroup)
@click.version_option(__version__)
def main() -> None:
    """Benchmark models that NVIDIA Triton serves, from a checkpoint to a report."""


_set = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PATH=VALUE",
    help="Set a key of the scenario, as load.0.requests=20. The option may be repeated.",
)
_quiet = click.option("--quiet", is_flag=True, help="Print errors and the result, but no progress.")
_strict = click.option("--strict", is_flag=True, help="End with 4 if the verdict is SUSPECT too, not only if it is INVALID.")
_lang = click.option("--lang", type=_LANGUAGES, default="en", show_default=True, help="Write the report and the table in this language.")
_runs = click.option("--runs", type=Place(), default=Path("runs"), show_default=True, help="Write the run directory into this directory.")


@main.command(epilog=BUILD_EXAMPLES)
@click.argument("spec", type=PlaceName())
@click.option(
    "--dtype",
    type=click.Choice(get_args(Dtype)),
    help="Build in this precision. The default is that of the spec, else fp16.",
)
@click.option(
    "--provider",
    type=click.Choice(get_args(ProviderName)),
    help="Build with this provider. The default is that of the spec, else auto.",
)
@build_options
@click.option("--output", type=Place(), help="Keep built engines in this directory. The default is engines/built.")
@click.option("--dry-run", is_flag=True, help="Print the memory that the build needs and the free memory, and build nothing.")
@_quiet
def build(spec: str, dtype: str | None, provider: str | None, output: Path | None, dry_run: bool, quiet: bool, **flags: Any) -> None:
    """Build an engine from SPEC: a YAML file, the name of a shipped spec, a checkpoint directory, or smollm2-135m.

    The options from --kv-dtype to --engine-dir are keys of `build:` in a spec and in a scenario.
    """
    from trtbench.cli.building import build_command

    sys.exit(build_command(spec, dtype, provider, output, dry_run, quiet, flags))


@main.command("serve-and-bench", epilog=RUN_EXAMPLES)
@click.argument("scenario", type=Place(), required=False)
@click.option("--resume", "run_dir", type=Place(), metavar="RUN_DIR", help="Resume the interrupted run in this directory.")
@_set
@click.option("--search", is_flag=True, help="Drop cells of the grid that cannot win, so that fewer runs find the winner.")
@click.option("--repeats", type=Whole(2, MOST_ROUNDS), metavar="N", help="Measure all stages in N rounds, as --set repeats=N does.")
@click.option("--engine-dir", type=Place(), help="Serve the finished engine in this directory, as --set build.engine_dir=DIR does.")
@cost_options
@click.option("--dry-run", is_flag=True, help="Print what would be run, and run nothing.")
@_runs
@_strict
@_lang
@_quiet
def serve_and_bench(
    scenario: Path | None,
    run_dir: Path | None,
    overrides: tuple[str, ...],
    search: bool,
    repeats: int | None,
    engine_dir: Path | None,
    dry_run: bool,
    runs: Path,
    strict: bool,
    lang: Language,
    quiet: bool,
    **cost: float | None,
) -> None:
    """Run SCENARIO: build its engines, serve them, send the load and write the report.

    SCENARIO is a file or the name of a shipped scenario (`trtbench scenarios` lists them).
    """
    from trtbench.cli.commands import asked_for, resume_command, serve_and_bench_command
    from trtbench.cli.dry_run import dry_run as show

    if run_dir:
        get_source = click.get_current_context().get_parameter_source
        given = [flag for name, flag in _NOT_WITH_RESUME.items() if get_source(name) is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise UserError(f"--resume takes all from the run's own scenario.yaml: leave out {', '.join(given)}")
        sys.exit(resume_command(run_dir, lang, quiet, strict))
    if scenario is None:
        raise UserError("give a SCENARIO (`trtbench scenarios` lists those that ship), or --resume RUN_DIR")
    overrides = (*((f"repeats={repeats}",) if repeats else ()), *overrides, *cost_overrides(cost_of(**cost)))
    overrides += (f"build.engine_dir={json.dumps(str(engine_dir))}",) if engine_dir else ()
    if dry_run:
        show(asked_for(scenario, overrides, search))
    else:
        sys.exit(serve_and_bench_command(scenario, overrides, search, runs, lang, quiet, strict))


@main.command()
@click.argument("scenario", type=Place())
@_set
@click.option("--engine", "dtype", type=Text(), help="Serve this engine of the scenario. The default is the first.")
@click.option("--deployment", type=Text(), help="Serve this deployment of the scenario. The default is the first.")
@click.option("--grpc-port", type=Whole(0, 65535), default=0, help="Serve gRPC on this port. By default the system chooses a free port.")
@click.option("--http-port", type=Whole(0, 65535), default=0, help="Serve HTTP on this port. By default the system chooses a free port.")
@click.option("--metrics-port", type=Whole(0, 65535), default=0, help="Serve metrics on this port. By default the system chooses one.")
@_quiet
def serve(scenario: Path, overrides: tuple[str, ...], dtype: str | None, deployment: str | None, quiet: bool, **ports: int) -> None:
    """Serve one engine of SCENARIO on loopback until Ctrl-C."""
    from trtbench.cli.commands import serve_command

    sys.exit(serve_command(scenario, overrides, dtype, deployment, (ports["grpc_port"], ports["http_port"], ports["metrics_port"]), quiet))


@main.command(epilog=BENCH_EXAMPLES)
@bench_options
@click.option("--dry-run", is_flag=True, help="Print the load that would be sent, and send nothing to the server.")
@_strict
@_lang
@_quiet
def bench(**flags: Any) -> None:
    """Send load to a server that already runs, Triton or one with an OpenAI-compatible endpoint, and write the report."""
    from trtbench.cli.commands import bench_command

    sys.exit(bench_command(**flags))


@main.command()
@click.argument("run_dir", type=Place())
@_lang
@click.option(
    "--format", "formats", type=Text(), default="md,html,json", show_default=True, help="Write these formats, any of md, html and json."
)
@cost_options
def report(run_dir: Path, lang: str, formats: str, **cost: float | None) -> None:
    """Write the report of RUN_DIR again, from its files alone."""
    from trtbench.cli.reporting import report_run

    report_run(run_dir, lang, formats, cost_of(**cost))


for _command in (baseline, capacity, compare, dataset, doctor, export, import_results, scenarios, schema):
    main.add_command(_command)


@main.command()
@click.option(
    "--url",
    type=Text(),
    metavar="HOST:PORT",
    help="Connect to a Triton server at this gRPC endpoint that serves the calibration model. By default trtbench starts one.",
)
@click.option(
    "--streams", type=Text(), help="Measure a row for each of these numbers of streams. The default is 1,64,256,1024, with --quick 1,64."
)
@click.option("--transport", type=Text(), default="wire", hidden=True, help="wire is the only transport.")
@click.option("--quick", is_flag=True, help="Measure each row for one second, which takes about 15 s in all.")
@click.option("--json", "json_path", type=Place(), help="Write all figures to this file.")
def calibrate(url: str | None, streams: str | None, transport: str, quick: bool, json_path: Path | None) -> None:
    """Measure how far trtbench's figures are from the truth on this machine."""
    from trtbench.cli.calibrate import calibrate_command

    sys.exit(calibrate_command(url, streams, transport, quick, json_path))


@main.group()
def gpu() -> None:
    """Show this machine's NVIDIA GPUs, hold their clocks and limits, and restore what a killed run left."""


@gpu.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print all values as JSON.")
def gpu_status(as_json: bool) -> None:
    """List GPUs and MIG instances with clocks, power, temperature, modes, processes and held settings."""
    from trtbench.cli.gpu import status_command

    status_command(as_json)


@gpu.command("lock")
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=Text(),
    metavar="INDEX|UUID",
    help="Hold settings of this GPU. The option may be repeated. The default is every GPU.",
)
@click.option("--sm-clock", type=Text(), metavar="MHZ", help="Lock the SM clock; base and max are also possible.")
@click.option("--memory-clock", type=Text(), metavar="MHZ", help="Lock the memory clock; max is also possible.")
@click.option("--power-limit", type=Real(), metavar="W", help="Limit the power to this number of watts.")
@click.option("--persistence/--no-persistence", default=None, help="Switch persistence mode on or off.")
@click.option("--compute-mode", type=click.Choice(get_args(ComputeMode)), help="Set the compute mode.")
@click.option("--ballast", type=Real(), metavar="GIB", help="Allocate this amount of GPU memory.")
@click.option("--leave-free", type=Real(), metavar="GIB", help="Allocate all GPU memory except this amount.")
@click.option("--cool-down", type=Whole(), metavar="CELSIUS", help="Before COMMAND, wait until no GPU is above this temperature.")
@click.option("--allow-busy", is_flag=True, help="Continue even if other processes use the GPUs.")
@click.argument("command", nargs=-1)
def gpu_lock(command: tuple[str, ...], **flags: Any) -> None:
    """Hold GPU settings until Ctrl-C, or while COMMAND runs, and then restore them.

    Write COMMAND after two dashes: `trtbench gpu lock --sm-clock base -- COMMAND ...`.
    """
    from trtbench.cli.gpu import lock_command

    sys.exit(lock_command(command, **flags))


@gpu.command("restore")
def gpu_restore() -> None:
    """Restore the GPU settings that a killed run or lock left."""
    from trtbench.cli.gpu import restore_command

    sys.exit(restore_command())


if __name__ == "__main__":
    main()
