"""The command line: parse, call, print, exit code.

docs/exit-codes.md has the exit codes. Our own modules are imported inside the commands, so that `trtbench report` starts fast and
needs nothing but itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from trtbench import __version__
from trtbench.cli.flags.translation import TranslatedCommand, value_fault, with_typed_names
from trtbench.cli.flags.values import Place, PlaceName, Real, Text, Whole
from trtbench.cli.options import BENCH_EXAMPLES, BUILD_EXAMPLES, RUN_EXAMPLES, bench_options, build_options
from trtbench.errors import UserError, in_one_line
from trtbench.system.foreign_text import harmless

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # before gRPC is imported: it says on the console what our own errors say

_RUNS = Path("runs")
_NOT_WITH_RESUME = {"scenario": "SCENARIO", "overrides": "--set", "search": "--search", "dry_run": "--dry-run", "runs": "--runs"}
_NOT_WITH_RESUME |= {"engine_dir": "--engine-dir"}
_ON_COMMAND_LINE = click.core.ParameterSource.COMMANDLINE
_LANGUAGES = click.Choice(["en", "zh"])


class _Group(click.Group):
    command_class = TranslatedCommand
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        from trtbench.system.leftovers import sweep  # not for --help, which never comes here

        sweep()
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"trtbench: {harmless(with_typed_names(str(error), ctx.meta))}", file=sys.stderr)
            ctx.exit(2)
        except click.BadParameter as error:
            print(f"trtbench: {harmless(with_typed_names(value_fault(error), ctx.meta))}", file=sys.stderr)
            ctx.exit(2)
        except click.UsageError as error:
            raise click.UsageError(harmless(error.format_message()), error.ctx) from error
        except OSError as error:  # of a report that cannot be written, say
            print(harmless(f"trtbench: {in_one_line(error)}"), file=sys.stderr)
            ctx.exit(1)


@click.group(cls=_Group)
@click.version_option(__version__)
def main() -> None:
    """Benchmark models served by NVIDIA Triton: from a checkpoint to a report."""


_set = click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key, as load.0.requests=20.")
_quiet = click.option("--quiet", is_flag=True, help="No progress, only faults and the result.")
_lang = click.option("--lang", type=_LANGUAGES, default="en", show_default=True, help="Language of the report and the table.")
_runs = click.option("--runs", type=Place(), default=_RUNS, show_default=True, help="Where run directories go.")


@main.command(epilog=BUILD_EXAMPLES)
@click.argument("spec", type=PlaceName())
@click.option("--dtype", type=click.Choice(["fp16", "bf16", "int8", "int8-sq", "fp8"]), help="Precision; default: the spec's, else fp16.")
@click.option(
    "--provider", type=click.Choice(["auto", "openvino", "tensorrt_llm", "llmapi", "tensorrt"]), help="Default: the spec's, else auto."
)
@build_options
@click.option("--output", type=Place(), help="Cache of built engines; default: engines/built.")
@click.option("--dry-run", is_flag=True, help="Print the memory that it would take and what is free, and stop.")
@_quiet
def build(spec: str, dtype: str | None, provider: str | None, output: Path | None, dry_run: bool, quiet: bool, **flags: Any) -> None:
    """Build an engine from SPEC: a YAML file, the name of a shipped spec, a checkpoint directory, or smollm2-135m.

    All flags between --kv-dtype and --engine-dir are keys of the spec's `build:`, and of a scenario's.
    """
    from trtbench.cli.build import build_command

    sys.exit(build_command(spec, dtype, provider, output, dry_run, quiet, flags))


@main.command("serve-and-bench", epilog=RUN_EXAMPLES)
@click.argument("scenario", type=Place(), required=False)
@click.option("--resume", "run_dir", type=Place(), metavar="RUN_DIR", help="Resume an interrupted run.")
@_set
@click.option("--search", is_flag=True, help="Of a grid: drop cells that cannot win, so that fewer runs find the winner.")
@click.option("--engine-dir", type=Place(), help="Serve this finished engine: --set build.engine_dir=DIR.")
@click.option("--dry-run", is_flag=True, help="Print what would be run, and stop.")
@_runs
@_lang
@_quiet
@click.pass_context
def serve_and_bench(
    ctx: click.Context,
    scenario: Path | None,
    run_dir: Path | None,
    overrides: tuple[str, ...],
    search: bool,
    engine_dir: Path | None,
    dry_run: bool,
    runs: Path,
    lang: str,
    quiet: bool,
) -> None:
    """Build, deploy, serve, load, measure and report SCENARIO, a file or the name of a shipped scenario."""
    from trtbench.cli.commands import asked_for, resume_command, serve_and_bench_command
    from trtbench.cli.dry_run import dry_run as show

    if run_dir:
        given = [flag for name, flag in _NOT_WITH_RESUME.items() if ctx.get_parameter_source(name) is _ON_COMMAND_LINE]
        if given:
            raise UserError(f"--resume takes all from the run's own scenario.yaml: leave out {', '.join(given)}")
        sys.exit(resume_command(run_dir, lang, quiet))
    if scenario is None:
        raise UserError("give a SCENARIO (`trtbench scenarios` lists those that ship), or --resume RUN_DIR")
    overrides += (f"build.engine_dir={json.dumps(str(engine_dir))}",) if engine_dir else ()
    if dry_run:
        show(asked_for(scenario, overrides, search))
    else:
        sys.exit(serve_and_bench_command(scenario, overrides, search, runs, lang, quiet))


@main.command()
@click.argument("scenario", type=Place())
@_set
@click.option("--engine", "dtype", type=Text(), help="Which of the scenario's engines; default: the first.")
@click.option("--deployment", type=Text(), help="Which of the scenario's deployments; default: the first.")
@click.option("--grpc-port", type=Whole(0, 65535), default=0, help="Default: a free one.")
@click.option("--http-port", type=Whole(0, 65535), default=0, help="Default: a free one.")
@click.option("--metrics-port", type=Whole(0, 65535), default=0, help="Default: a free one.")
@_quiet
def serve(scenario: Path, overrides: tuple[str, ...], dtype: str | None, deployment: str | None, quiet: bool, **ports: int) -> None:
    """Serve one engine of SCENARIO on loopback until Ctrl-C."""
    from trtbench.cli.commands import serve_command

    sys.exit(serve_command(scenario, overrides, dtype, deployment, (ports["grpc_port"], ports["http_port"], ports["metrics_port"]), quiet))


@main.command(epilog=BENCH_EXAMPLES)
@bench_options
@click.option("--dry-run", is_flag=True, help="Print the load that would be sent, and stop; the server is not asked anything.")
@_lang
@_quiet
def bench(**flags: Any) -> None:
    """Put a Triton that runs already under load, and report."""
    from trtbench.cli.commands import bench_command

    sys.exit(bench_command(**flags))


@main.command()
@click.argument("run_dir", type=Place())
@_lang
@click.option("--format", "formats", type=Text(), default="md,html,json", show_default=True, help="Any of md, html, json.")
def report(run_dir: Path, lang: str, formats: str) -> None:
    """Make the report of RUN_DIR again, from its files alone."""
    from trtbench.cli.reporting import report_run

    report_run(run_dir, lang, formats)


@main.command()
@click.option(
    "--url", type=Text(), metavar="HOST:PORT", help="gRPC endpoint of a Triton that serves the calibration model; default: one is started."
)
@click.option("--streams", type=Text(), help="Streams at once, a row each, as 1,64. Default: 1,64,256,1024; with --quick 1,64.")
@click.option("--transport", type=Text(), default="wire", hidden=True, help="wire is the only one.")
@click.option("--quick", is_flag=True, help="A second a row: about 15 s in all.")
@click.option("--json", "json_path", type=Place(), help="Write all figures here.")
def calibrate(url: str | None, streams: str | None, transport: str, quick: bool, json_path: Path | None) -> None:
    """How far trtbench's own numbers are from the truth on this machine."""
    from trtbench.cli.calibrate import calibrate_command

    sys.exit(calibrate_command(url, streams, transport, quick, json_path))


@main.command()
def scenarios() -> None:
    """List the scenarios that ship: purpose, duration, requests."""
    from trtbench.cli.commands import scenarios_command

    scenarios_command()


@main.command()
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from trtbench.cli.commands import schema_command

    schema_command()


@main.command()
def doctor() -> None:
    """Say what this machine can do, and the remedy for what it cannot."""
    from trtbench.cli.commands import doctor_command

    sys.exit(doctor_command())


@main.group()
def gpu() -> None:
    """Look at this machine's NVIDIA GPUs, hold their clocks and limits, put back what a killed run left."""


@gpu.command("status")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def gpu_status(as_json: bool) -> None:
    """List GPUs and MIG instances: clocks, power, temperature, modes, processes, and what is held."""
    from trtbench.cli.gpu import status_command

    status_command(as_json)


@gpu.command("lock")
@click.option("--device", "devices", multiple=True, type=Text(), metavar="INDEX|UUID", help="Default: every GPU.")
@click.option("--sm-clock", type=Text(), metavar="MHZ", help="Also base or max.")
@click.option("--memory-clock", type=Text(), metavar="MHZ", help="Also max.")
@click.option("--power-limit", type=Real(), metavar="W")
@click.option("--persistence/--no-persistence", default=None, help="Persistence mode.")
@click.option("--compute-mode", type=click.Choice(["default", "exclusive_process"]))
@click.option("--ballast", type=Real(), metavar="GIB", help="Hold so much GPU memory.")
@click.option("--leave-free", type=Real(), metavar="GIB", help="Hold all GPU memory but so much.")
@click.option("--cool-down", type=Whole(), metavar="CELSIUS", help="Wait before COMMAND until the GPUs are so cool.")
@click.option("--allow-busy", is_flag=True, help="Continue although other processes use the GPUs.")
@click.argument("command", nargs=-1)
def gpu_lock(command: tuple[str, ...], **flags: Any) -> None:
    """Hold settings until Ctrl-C, or while COMMAND runs (`trtbench gpu lock --sm-clock base -- COMMAND ...`), then put them back."""
    from trtbench.cli.gpu import lock_command

    sys.exit(lock_command(command, **flags))


@gpu.command("restore")
def gpu_restore() -> None:
    """Put back what a killed run or lock left behind."""
    from trtbench.cli.gpu import restore_command

    sys.exit(restore_command())


if __name__ == "__main__":
    main()
