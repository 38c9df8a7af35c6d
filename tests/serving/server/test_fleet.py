"""A fleet of stand-ins for Triton: a program that answers its health check and writes down what it sees."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from trtbench.scenario.deployment.deployment import Replicas
from trtbench.serving.server.fleet import Fleet
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import ServerError
from trtbench.system.clock import sleep_s

pytestmark = pytest.mark.timeout(60)

STAND_IN = f"""#!{sys.executable}
import http.server, os, sys
port = next(int(flag.partition("=")[2]) for flag in sys.argv if flag.startswith("--http-port="))
gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
print("sees", gpu, flush=True)
if gpu == "GPU-7":
    sys.exit(3)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""


@pytest.fixture
def installation(tmp_path: Path) -> TritonInstallation:
    binary = tmp_path / "stand-in"
    binary.write_text(STAND_IN, encoding="utf-8")
    binary.chmod(0o755)
    return TritonInstallation("PATH", binary, tmp_path)


def fleet(installation: TritonInstallation, tmp_path: Path, **keys: object) -> Fleet:
    replicas = Replicas.model_validate(keys)
    return Fleet(installation, tmp_path, tmp_path / "server.log", replicas, gpus=[f"GPU-{gpu}" for gpu in replicas.gpus])


def trees(started: Fleet) -> list[psutil.Process]:
    return [process for server in started.servers for process in (psutil.Process(server.pid), *psutil.Process(server.pid).children())]


def test_every_server_has_its_ports_its_log_and_its_gpu(installation: TritonInstallation, tmp_path: Path) -> None:
    with fleet(installation, tmp_path, gpus=[2, 5]) as started:
        assert len(set(started.addresses)) == 2 and started.addresses == [endpoints.grpc for endpoints in started.endpoints]
        assert [(tmp_path / name).read_text().partition("\n")[0] for name in ("server.log", "server-1.log")] == ["sees GPU-2", "sees GPU-5"]
        assert started.death() is None
        processes = trees(started)
    assert len(processes) == 4 and not any(process.is_running() for process in processes)


def test_the_first_to_die_is_named(installation: TritonInstallation, tmp_path: Path) -> None:
    with fleet(installation, tmp_path, servers=2) as started:
        psutil.Process(started.servers[1].pid).children()[0].kill()
        for _ in range(200):
            if death := started.death():
                break
            sleep_s(0.02)
        assert death and death.cause.startswith("Server 1 of 2: Ended by SIGKILL")
        assert death.log == tmp_path / "server-1.log"


def test_when_one_does_not_start_the_others_are_stopped(installation: TritonInstallation, tmp_path: Path) -> None:
    broken = fleet(installation, tmp_path, gpus=[0, 7])
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(ServerError, match="ended before it was ready"), broken:
        pytest.fail("it has started")
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def test_a_fault_names_its_server(installation: TritonInstallation, tmp_path: Path) -> None:
    with fleet(installation, tmp_path, servers=2) as started:
        assert list(started.faults()) == []
        with started.servers[1].log.open("a", encoding="utf-8") as log:
            log.write("[TensorRT-LLM][ERROR] CUDA runtime error in cudaMalloc: out of memory\n")
        (fault,) = started.faults()
    assert fault.startswith("Server 1 of 2: ")
