"""`trtbench serve` on the real server: until told to stop, and nothing left however it is told."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.command import Command
from tests.support.triton.kserve import ask
from trtbench.engine.spec import Engine
from trtbench.scenario.parts.choices import Dtype
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import free_ports, is_ready

pytestmark = [pytest.mark.triton, pytest.mark.timeout(120, func_only=True)]

SMALL = (
    *("--set", "provider=openvino", "--set", "deployments.default.kv_cache.blocks=12", "--set", "deployments.default.inference_threads=1"),
    *("--set", "deployments.default.scheduler.max_sequences=4", "--engine", "int8"),
)

Start = Callable[..., Command]


@pytest.fixture
def start(installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    commands: list[Command] = []

    def begin(*arguments: str) -> Command:
        commands.append(Command(tmp_path_factory.mktemp("serve"), "serve", "quickstart", *SMALL, *arguments))
        return commands[-1]

    yield begin
    for command in commands:
        command.end()


def started(command: Command) -> dict[str, str]:
    """The addresses it prints when it is ready: {"gRPC": host:port, ...}."""
    command.wait_for(lambda: "Ctrl-C stops it" in command.out)
    addresses = dict(re.findall(r"(gRPC|HTTP|metrics) (\S+)", command.out))
    assert is_ready(addresses["HTTP"])
    return addresses


def test_serves_on_the_asked_ports_until_ctrl_c(start: Start) -> None:
    ports = free_ports(3)
    flags = [text for name, port in zip(("grpc", "http", "metrics"), ports, strict=True) for text in (f"--{name}-port", str(port))]
    command = start(*flags)
    addresses = started(command)
    assert addresses == {name: f"127.0.0.1:{port}" for name, port in zip(("gRPC", "HTTP", "metrics"), ports, strict=True)}
    answer = ask(addresses["gRPC"], "smollm2-135m", input_ids=[504, 3575], request_output_len=4, end_id=-1, streaming=True)
    assert (len(answer.ids), answer.error) == (4, "")
    assert "model smollm2-135m" in command.out
    command.interrupt()
    assert command.wait() == 130
    assert "Traceback" not in command.err
    command.assert_nothing_left()
    assert list(command.temporary.iterdir()) == []


def test_sigterm_leaves_nothing(start: Start) -> None:
    command = start()
    started(command)
    assert {"tritonserver", "triton_python_backend_stub"} <= {
        process.name() for process in command.children()
    }  # there is something to leave
    command.process.terminate()
    assert command.wait() == 143
    command.assert_nothing_left()


def test_kill_9_leaves_nothing_and_a_new_start_works_at_once(start: Start) -> None:
    killed = start()
    started(killed)
    killed.process.kill()
    killed.wait()
    again = start()
    started(again)
    killed.assert_nothing_left(but_files=True)
    (triton,) = again.children("tritonserver")
    triton.kill()  # and one that ends by itself ends the command
    assert again.wait() == 1
    assert "Triton ended by itself. Ended by SIGKILL" in again.err
    assert "Traceback" not in again.err
    again.assert_nothing_left()


def test_a_port_in_use(start: Start) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        command = start("--http-port", port)
        assert command.wait() == 2
    assert command.err.startswith(f"trtbench: port {port} cannot be used")
    assert command.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--deployment", "other"), "--deployment other: the scenario has default"), (("--engine", "fp8"), "--engine fp8")],
)
def test_what_the_scenario_does_not_have(start: Start, arguments: tuple[str, ...], says: str) -> None:
    command = start(*arguments)
    assert command.wait() == 2
    assert says in command.err
    command.assert_nothing_left()
