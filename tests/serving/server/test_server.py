"""TritonServer: ready on entry, gone on exit, and plain about what went wrong. On the real server, mostly with a model of three lines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from trtbench.engine.spec import Engine
from trtbench.errors import UserError
from trtbench.scenario.deployment.deployment import Deployment, KvCache
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import LOOPBACK, ServerError, TritonServer, check_ports_free, free_ports, is_ready
from trtbench.system import supervisor
from trtbench.system.leftovers import shared_memory_prefix

pytestmark = pytest.mark.timeout(60, func_only=True)

CONFIG = 'name: "{name}" backend: "python" max_batch_size: 0\n' + "".join(
    f'{way} [ {{ name: "{way}" data_type: TYPE_INT32 dims: [ 1 ] }} ]\n' for way in ("input", "output")
)
MODEL = "class TritonPythonModel:\n    def execute(self, requests):\n        return [None for request in requests]\n"


def write_model(root: Path, code: str = MODEL, config: str = CONFIG) -> Path:
    version = root / "tiny" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(code)
    (root / "tiny" / "config.pbtxt").write_text(config.replace("{name}", "tiny"))
    return root


@pytest.fixture(autouse=True)
def _shared_memory_is_given_back() -> Iterator[None]:
    """The session's own server keeps what it has."""
    before = segments()
    yield
    assert segments() <= before


def segments() -> set[Path]:
    """Shared memory of the servers that this process started."""
    return set(Path("/dev/shm").glob(f"{shared_memory_prefix('')[:-1]}*"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for temporary files, of this test alone."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.mark.triton
def test_ready_on_entry_and_nothing_left_on_exit(installation: TritonInstallation, tmp_path: Path, temporary: Path) -> None:
    with TritonServer(installation, write_model(tmp_path / "models"), tmp_path / "server.log") as server:
        assert is_ready(server.endpoints.http)
        assert server.version().count(".") == 2
        assert server.exit_code() is None
        assert server.death() is None
        assert server.ready_s > 0
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert any("triton_python_backend_stub" in " ".join(process.cmdline()) for process in tree)
        listening = {
            connection.laddr.ip for process in tree for connection in process.net_connections("tcp") if connection.status == "LISTEN"
        }
        assert {address.removeprefix("::ffff:") for address in listening} == {LOOPBACK}
    assert not [process for process in tree if process.is_running()]
    assert not list(temporary.iterdir())
    assert not is_ready(server.endpoints.http)
    assert server.exit_code() == 0
    assert (tmp_path / "server.log").stat().st_size
    server.stop()  # safe to call twice


@pytest.mark.triton
def test_a_killed_server_is_seen_and_its_stub_goes_with_it(installation: TritonInstallation, tmp_path: Path) -> None:
    with TritonServer(installation, write_model(tmp_path / "models"), tmp_path / "server.log") as server:
        tree = psutil.Process(server.pid).children(recursive=True)
        triton = next(process for process in tree if process.name().startswith("tritonserver"))
        triton.kill()
        deadline = time.monotonic() + 10
        while server.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        death = server.death()
        assert death is not None
        assert death.exit_code == 128 + signal.SIGKILL
        assert "Ended by SIGKILL" in death.cause
    psutil.wait_procs(tree, timeout=5)
    assert not [process for process in tree if process.is_running()]


@pytest.mark.triton
@pytest.mark.parametrize(
    ("code", "config", "cause", "in_log"),
    [
        ("raise RuntimeError('no such day')\n", CONFIG, "the model did not load", "no such day"),
        ("import no_such_package\n", CONFIG, "the model misses a Python package (no_such_package)", "no_such_package"),
        (
            MODEL,
            CONFIG + "dynamic_batching { preferred_batch_size: [ 4 ] }\n",
            "Triton refuses the model's configuration",
            "dynamic batching",
        ),
    ],
    ids=["broken model", "missing package", "bad configuration"],
)
def test_an_early_death_says_why(
    installation: TritonInstallation, tmp_path: Path, temporary: Path, code: str, config: str, cause: str, in_log: str
) -> None:
    root = write_model(tmp_path / "models", code, config)
    with (
        pytest.raises(ServerError, match="Triton ended before it was ready") as caught,
        TritonServer(installation, root, tmp_path / "server.log", ("--disable-auto-complete-config",)),
    ):
        pass
    assert cause in str(caught.value)
    assert in_log in (tmp_path / "server.log").read_text()
    assert f"Last lines of {tmp_path / 'server.log'}" in str(caught.value)
    assert not list(temporary.iterdir())


@pytest.mark.triton
def test_a_missing_engine_says_why(installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path: Path) -> None:
    gone = replace(engines["int8"], path=tmp_path / "gone")
    repository = render(gone, Deployment(kv_cache=KvCache(blocks=8)), Workload())
    root = repository.write(tmp_path / "models")
    with (
        pytest.raises(ServerError, match="the model did not load") as caught,
        TritonServer(installation, root, tmp_path / "server.log", repository.server_flags),
    ):
        pass
    assert "No such file" in str(caught.value)


@pytest.mark.triton
def test_a_flag_that_triton_does_not_know(installation: TritonInstallation, tmp_path: Path) -> None:
    server = TritonServer(installation, write_model(tmp_path / "models"), tmp_path / "server.log", ("--no-such-flag=1",))
    with pytest.raises(ServerError, match="Triton does not know one of the flags"), server:
        pass


@pytest.mark.triton
def test_an_error_inside_the_block_stops_the_server(installation: TritonInstallation, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TritonServer(installation, write_model(tmp_path / "models"), tmp_path / "log") as server:
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        raise KeyboardInterrupt
    assert not [process for process in tree if process.is_running()]


SUPERVISOR = Path(supervisor.__file__)
FAKE_SERVER = """
import signal, subprocess, sys, time
if {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.process
@pytest.mark.parametrize(("stubborn", "expected"), [(False, 128 + signal.SIGTERM), (True, 128 + signal.SIGKILL)])
def test_the_guard_ends_the_whole_group_when_its_pipe_closes(stubborn: bool, expected: int) -> None:
    prefix = f"trtbench_test_{os.getpid()}_"
    segment = Path("/dev/shm") / f"{prefix}x"
    segment.touch()
    fake = FAKE_SERVER.replace("{stubborn}", str(stubborn))
    supervisor = subprocess.Popen(
        [sys.executable, "-I", str(SUPERVISOR), "0.5", prefix, sys.executable, "-c", fake], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert supervisor.stdout and supervisor.stdin
    child = psutil.Process(int(supervisor.stdout.readline()))
    supervisor.send_signal(signal.SIGINT)  # Ctrl-C and SIGTERM are for trtbench to act on
    supervisor.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert supervisor.poll() is None
    supervisor.stdin.close()
    assert supervisor.wait(10) == expected
    child.wait(5)
    assert not segment.exists()


@pytest.mark.process
def test_a_server_does_not_outlive_a_killed_guard() -> None:
    fake = FAKE_SERVER.replace("{stubborn}", "True")
    command = [sys.executable, "-I", str(SUPERVISOR), "1", "trtbench_test_none_", sys.executable, "-c", fake]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout
        child = psutil.Process(int(supervisor.stdout.readline()))
        server = child.parent()
        assert server
        supervisor.kill()
        server.wait(5)
        child.kill()  # Triton's own children watch their parent, this one does not


@pytest.mark.process
def test_the_guard_passes_the_exit_code_on() -> None:
    command = [sys.executable, "-I", str(SUPERVISOR), "1", "trtbench_test_none_", sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as supervisor:
        assert supervisor.wait(10) == 3


@pytest.mark.process
def test_a_port_in_use_is_named() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} cannot be used .*choose another, or 0"):
            check_ports_free((0, port, 0))
    check_ports_free((0, port, 0))


@pytest.mark.process
def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    check_ports_free(ports)


@pytest.mark.process
def test_a_port_where_something_else_answers_is_not_ready() -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        assert not is_ready(f"{LOOPBACK}:{holder.getsockname()[1]}")  # it accepts and says nothing
