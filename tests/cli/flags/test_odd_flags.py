"""No value of a flag or an argument, however odd, ends a command in a traceback or in exit code 1 before its work begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trtbench.cli import building, main
from trtbench.client.registry import client_of_endpoint
from trtbench.engine.build import PROVIDERS
from trtbench.run import prepare, serve
from trtbench.run.resolve import resolved_endpoint
from trtbench.self_test.calibrator import Calibrator

pytestmark = pytest.mark.timeout(60)
needs_openvino = pytest.mark.skipif(PROVIDERS["openvino"].unavailable() is not None, reason=str(PROVIDERS["openvino"].unavailable()))

ODD = {
    "empty": "",
    "blank": " ",
    "a dash": "-",
    "two dashes": "--",
    "negative": "-1",
    "zero": "0",
    "one": "1",
    "not a number": "nan",
    "infinite": "inf",
    "beyond floats": "1e999",
    "tiny": "1e-320",
    "a boolean": "true",
    "hexadecimal": "0x10",
    "with underscores": "1_0",
    "beyond 64 bits": "99999999999999999999",
    "beyond 32 bits": "3000000000",
    "of thousands of digits": "9" * 5000,
    "digits of another script": "\u0663",
    "very long": "x" * 5000,
    "as long as a name may be": "n" * 255,
    "a NUL": "a\0b",
    "a lone surrogate": "\ud800",
    "a line break": "a\nb",
    "an escape": "\x1b[2J",
    "another script": "\u6a21\u578b",
    "a list": "1,,2",
    "a range": "9:1",
    "a pair": "a:b:c=d",
    "a directory": ".",
    "the root": "/",
    "a device": "/dev/null",
    "an endless device": "/dev/zero",
    "in a file": "file/below",
    "a file": "file",
    "a loop": "loop",
    "not there": "no/such/place",
}
NEEDED = {
    "bench": ("--url", "127.0.0.1:9", "--model", "m"),
    "build": ("smollm2-135m",),
    "serve-and-bench": ("quickstart",),
    "serve": ("quickstart",),
    "report": ("run",),
    "calibrate": (),
    "gpu lock": (),
    "gpu status": (),
}


class Begun(Exception):
    """Every check is behind, the work of a command begins."""


def begin(*_: Any, **__: Any) -> None:
    raise Begun


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resolved_endpoint, "client_of_endpoint", lambda name: replace(client_of_endpoint(name), inspect=begin))
    monkeypatch.setattr(building, "build_engine", begin)
    monkeypatch.setattr(prepare, "build_engines", begin)
    monkeypatch.setattr(serve, "build_engines", begin)
    monkeypatch.setattr(Calibrator, "run", begin)
    monkeypatch.setattr("trtbench.cli.gpu.check_gpus", begin)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)


def options() -> Iterator[Any]:
    for name in NEEDED:
        group, _, verb = name.rpartition(" ")
        commands_of = main.main.commands if not group else main.gpu.commands
        for option in commands_of[verb].params:
            if isinstance(option, click.Option) and not option.is_flag and "--help" not in option.opts:
                yield pytest.param(name, option.opts[0], id=f"{name} {option.opts[0]}")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main.main, arguments)


def refused_or_begun(result: Result, *typed: str) -> None:
    said = result.output[-2000:]
    assert result.exception is None or isinstance(result.exception, (Begun, SystemExit)), (typed, result.exc_info)
    assert isinstance(result.exception, Begun) or result.exit_code in (0, 2), (typed, said)
    assert "Traceback" not in said
    if result.exit_code == 2:
        assert result.stderr.startswith(("trtbench: ", "Usage: ")), typed
        assert len(result.stderr) < 4000, (typed, len(result.stderr))
        assert not set(result.stderr) & {"\x1b", "\0"}, typed


@pytest.mark.process
@needs_openvino
@pytest.mark.parametrize(("command", "flag"), list(options()))
def test_no_value_of_a_flag_ends_in_a_traceback(command: str, flag: str, tmp_path: Path) -> None:
    for value in ODD.values():
        before = sorted(path.name for path in tmp_path.iterdir())
        result = invoke(*command.split(), *NEEDED[command], flag, value)
        refused_or_begun(result, command, flag, value)
        if result.exit_code == 2:
            assert sorted(path.name for path in tmp_path.iterdir()) == before, (command, flag, value)
    refused_or_begun(invoke(*command.split(), *NEEDED[command], flag), command, flag)


BENCH_FLAGS = [option.opts[0] for option in main.main.commands["bench"].params if isinstance(option, click.Option) and not option.is_flag]
FINE = ("1", "8", "2.5", "64:256", "1,4", "inf", "ttft:500", "gamma", "localhost:8002")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(BENCH_FLAGS), st.sampled_from([*FINE, *ODD.values()]) | st.text(max_size=8)), max_size=6))
def test_no_flags_together_end_in_a_traceback(pairs: list[tuple[str, str]]) -> None:
    words = [word for pair in pairs for word in pair]
    refused_or_begun(invoke("bench", *NEEDED["bench"], *words), *words)


@needs_openvino
@pytest.mark.parametrize("command", ["build", "serve-and-bench", "serve", "report", "gpu lock", "serve-and-bench --resume"])
def test_no_argument_ends_in_a_traceback(command: str) -> None:
    for value in ODD.values():
        refused_or_begun(invoke(*command.split(), value), command, value)
        refused_or_begun(invoke(*command.split(), value, value), command, value, value)
    refused_or_begun(invoke(*command.split()), command)


@pytest.mark.parametrize("command", ["doctor", "schema", "scenarios", "gpu status", "gpu restore", "gpu", ""])
def test_commands_without_arguments_take_none(command: str) -> None:
    for value in (*ODD.values(), "--odd", "-o"):
        if value not in ("--",):
            result = invoke(*command.split(), value)
            assert result.exit_code == 2, (command, value, result.output[-300:])
            assert len(result.stderr) < 6000
