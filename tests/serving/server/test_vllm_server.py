"""The start of a vLLM server, with a fake program in its place: another try for a port that was taken, and pauses until /health is 200."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from trtbench.engine.vllm_installation import VllmInstallation
from trtbench.serving.server import vllm_server
from trtbench.serving.server.server import ServerError
from trtbench.serving.server.vllm_server import VllmServer
from trtbench.system.clock import sleep_s

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

UNHEALTHY = 3
FAKE = f"""#!{sys.executable}
import http.server, pathlib, sys
starts = pathlib.Path(__file__).with_name("starts")
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
if len(starts.read_text()) <= TAKEN:
    sys.exit("OSError: [Errno 98] Address already in use")
class Handler(http.server.BaseHTTPRequestHandler):
    left = {UNHEALTHY}
    def do_GET(self):
        Handler.left -= 1
        self.send_response(503 if Handler.left >= 0 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def fake_vllm(directory: Path, taken: int, port: int = 0) -> VllmServer:
    """A server whose first `taken` starts find their port taken."""
    program = directory / "vllm"
    program.write_text(FAKE.replace("TAKEN", str(taken)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return VllmServer(VllmInstallation(program, "0.32.0+cpu"), directory, directory / "server.log", ports=(0, port, 0))


def test_a_port_that_another_program_took_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it answers another status than 200, each question is followed by a pause."""
    pauses: list[float] = []
    monkeypatch.setattr(vllm_server, "sleep_s", lambda seconds: (pauses.append(seconds), sleep_s(0.02))[1])
    with fake_vllm(tmp_path, taken=1) as server:
        assert server.exit_code() is None and server.command[-1] == server.endpoints.http.rpartition(":")[2]
    assert (tmp_path / "starts").read_text() == "xx"
    assert len(pauses) >= UNHEALTHY


def test_a_port_that_is_always_taken_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="vLLM ended before it was ready"), fake_vllm(tmp_path, taken=9):
        pass
    assert (tmp_path / "starts").read_text() == "xxx"
