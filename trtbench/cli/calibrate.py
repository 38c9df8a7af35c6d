"""`trtbench calibrate`: measure, print the tables, write the JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trtbench.analysis.stats.percentile import Distribution
from trtbench.cli.flags.explained import flag_error
from trtbench.cli.flags.values import check_can_write, whole_numbers
from trtbench.client.protocol import ConnectError
from trtbench.client.registry import TRITON_CLIENT
from trtbench.errors import UserError
from trtbench.load.worker_handle import WorkerError
from trtbench.rundir.lines import write_json
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_part
from trtbench.self_test.calibrator import FULL, QUICK, Calibrator
from trtbench.self_test.figures import Calibration, Ceiling, SendLag, StampErrors, StreamFigures
from trtbench.self_test.stamp import StampError
from trtbench.serving.server.server import ServerError
from trtbench.system.foreign_text import harmless
from trtbench.system.interrupts import signals_end_in_their_codes

_STREAMS, _QUICK_STREAMS = (1, 64, 256, 1024), (1, 64)
_PIPE_COLUMNS = 180
_MOST_STREAMS = 100_000


def calibrate_command(url: str | None, streams: str | None, transport: str, quick: bool, json_path: Path | None) -> int:
    """The exit code: 1 if a server did not start or was lost, or if the records differ from what was sent."""
    counts = _counts(streams) if streams is not None else _QUICK_STREAMS if quick else _STREAMS
    settings = _settings(transport)
    if json_path:
        check_can_write("--json", json_path)
    if url:
        url = TRITON_CLIENT.address(url)
    calibrator = Calibrator(settings, counts, QUICK if quick else FULL, lambda step: print(f"{step} ...", file=sys.stderr))
    try:
        with signals_end_in_their_codes() as ending:
            calibration = asyncio.run(calibrator.run(url))
    except (ServerError, ConnectError, WorkerError, StampError, OSError) as error:
        print(harmless(f"trtbench: {error}"), file=sys.stderr)
        return 1
    if ending.code:
        return ending.code
    if json_path:
        write_json(json_path, asdict(calibration))
    out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    out.print(_stream_table(calibration.streams))
    for line in _remarks(calibration):
        out.print(Text(harmless(line)))
    out.print(_ceiling(calibration.ceiling))
    out.print(_send_lag_table(calibration.send_lag))
    return 0


def _settings(transport: str) -> ClientSettings:
    try:
        return parse_part(ClientSettings, {"transport": transport}, "calibrate")
    except ScenarioError as error:
        raise flag_error(error.problems, {"transport": "--transport"}) from error


def _counts(streams: str) -> tuple[int, ...]:
    counts = tuple(whole_numbers("--streams", streams))
    if not all(1 <= count <= _MOST_STREAMS for count in counts):
        raise UserError(f"--streams {streams[:60]}: give whole numbers from 1 to {_MOST_STREAMS}, as 1,64,256")
    return counts


def _stream_table(rows: tuple[StreamFigures, ...]) -> Table:
    table = Table(title="Measured minus true, us: p50 / p99 / max. ITL: absolute error of the gap between two responses")
    for heading in ("server", "streams", "gap ms", "responses/s"):
        table.add_column(heading, justify="right")
    for stamps in ("kernel", "user space"):
        table.add_column(f"TTFT, {stamps}", justify="right")
        table.add_column(f"ITL, {stamps}", justify="right")
    table.add_column("read together", justify="right")
    table.add_column("CPU us/response", justify="right")
    for row in rows:
        start = (row.server, str(row.streams), f"{row.gap_us / 1000:g}", f"{row.responses_per_s:,.0f}")
        if row.accuracy:
            kernel, user = row.by_stamps()
            share = f"{row.accuracy.coalesced_ratio:.2%}" if kernel else "-"
            table.add_row(*start, *_errors(kernel), *_errors(user), share, f"{row.cpu_us_per_response:.1f}")
        else:
            table.add_row(*start, *["-"] * 6)
    return table


def _errors(errors: StampErrors | None) -> tuple[str, str]:
    return (_spread(errors.ttft_ns), _spread(errors.itl_ns)) if errors else ("-", "-")


def _spread(of_ns: Distribution | None) -> str:
    """Three figures in us; "-" for one without enough samples, or of two clocks that cannot be compared."""
    if of_ns is None:
        return "-"
    return " / ".join("-" if figure is None else f"{figure / 1000:,.0f}" for figure in (of_ns.p50, of_ns.p99, of_ns.max))


def _remarks(calibration: Calibration) -> Iterator[str]:
    if calibration.skipped:
        yield f"no Triton: {calibration.skipped}"
    for row in calibration.streams:
        name = f"{row.server}, {row.streams} streams"
        if row.failed:
            yield f"{name}: {row.failed} requests failed, the first: {row.fault}"
        if row.server_fell_behind and row.accuracy:
            late_ms = (row.accuracy.server_late_ns.p90 or 0) / 1e6
            yield f"{name}: the server was behind its own schedule (p90: {late_ms:.1f} ms): the rate is its limit, not the client's"
        if row.accuracy and row.accuracy.stamps.ttft_ns is None:
            yield f"{name}: the server's clock is not this machine's, so TTFT cannot be compared"


def _ceiling(ceiling: Ceiling) -> str:
    limit = "the client" if ceiling.cores > 0.9 else "server or sockets"
    rates = f"{ceiling.responses_per_s:,.0f} responses/s at {ceiling.cores:.0%} of a core, {ceiling.responses_per_cpu_s:,.0f} a CPU second"
    failed = f"; {ceiling.failed} requests failed" if ceiling.failed else ""
    return f"Ceiling, replay server, {ceiling.streams} streams: {rates} (the limit: {limit}){failed}"


def _send_lag_table(rows: tuple[SendLag, ...]) -> Table:
    table = Table(title="Send lag of Poisson arrivals and the replay server's own lateness (the machine's), us: p50 / p99 / max")
    for heading in ("requests/s", "requests", "failed", "sent / asked rate", "send lag", "server late", "client CPU"):
        table.add_column(heading, justify="right")
    for row in rows:
        count, lags = (str(row.requests), str(row.failed)), (_spread(row.send_lag_ns), _spread(row.server_late_ns))
        table.add_row(f"{row.rate:g}", *count, f"{row.achieved_ratio:.4f}", *lags, f"{row.cores:.0%}")
    return table
