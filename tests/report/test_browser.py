"""The HTML report in real headless Chromium, driven over the DevTools protocol on a pipe: no port, no driver."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.summary import summarise
from trtbench.report.document import write_reports
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.choices import Language

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on PATH (Debian: apt-get install chromium)"),
]

MEASURE = """(() => {
  const size = element => { const box = element.getBoundingClientRect(); return [box.width, box.height]; };
  const figures = [...document.querySelectorAll("figure svg")];
  return {
    pageWidth: document.documentElement.scrollWidth, windowWidth: window.innerWidth,
    figures: figures.map(size), marks: figures.map(svg => svg.querySelectorAll("path, text").length),
    clipped: figures.flatMap(svg => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter(text => {
        const at = text.getBoundingClientRect();
        return at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1;
      }).map(text => text.textContent);
    }),
    smallestText: Math.min(...figures.flatMap(svg => [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect().height))),
    ids: document.querySelectorAll("[id]").length, distinctIds: new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size,
  };
})()"""


class Chromium:
    """One browser with one page. Commands go to descriptor 3 of the browser, answers and events come from its 4, NUL between."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (theirs_in, theirs_out)]  # 3 and 4 may be ours
        actions = [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4)]
        actions += [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [str(CHROMIUM), *FLAGS, *root, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions, setpgroup=0)
        for descriptor in (theirs_in, theirs_out, *high):
            os.close(descriptor)
        self._buffer, self._next_id, self._session, self.events = b"", 0, "", list[dict[str, Any]]()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        reply = self._wait(lambda item: item.get("id") == message["id"])
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def open(self, path: Path, width: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.send("Page.navigate", url=path.as_uri())
        self._wait(lambda item: item.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def screenshot(self, path: Path) -> None:
        image = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def close(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._out)
        os.close(self._in)

    def _wait(self, wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            while b"\0" in self._buffer:
                line, self._buffer = self._buffer.split(b"\0", 1)
                item: dict[str, Any] = json.loads(line)
                self.events.append(item)
                if wanted(item):
                    return item
            if select.select([self._in], [], [], 1.0)[0]:
                chunk = os.read(self._in, 1 << 20)
                assert chunk, "chromium ended"
                self._buffer += chunk
        raise TimeoutError(f"chromium did not answer within {PATIENCE_S} s")


@pytest.fixture(scope="module", params=["en", "zh"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browser") / "run"
    write_synthetic_run(path, model="<script>alert(1)</script><img src=http://example.invalid/x.png>", gpu=True, mixed=True)
    run = RunDirectory.open(path)
    language: Language = request.param
    write_reports(run, summarise(run), language, ["html"])
    return path / "report.html"


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    browser = Chromium(tmp_path / "profile")
    yield browser
    browser.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_report_is_whole_readable_and_asks_no_host(report: Path, chromium: Chromium, width: int, tmp_path: Path) -> None:
    chromium.open(report, width)
    seen = chromium.evaluate(MEASURE)
    assert seen["windowWidth"] == width
    assert seen["pageWidth"] <= width
    assert len(seen["figures"]) == 6
    assert all(w > 300 and h > 80 for w, h in seen["figures"])
    assert all(marks > 20 for marks in seen["marks"])
    assert seen["clipped"] == []
    assert seen["smallestText"] > 7
    assert seen["ids"] == seen["distinctIds"]
    asked = [event["params"]["request"]["url"] for event in chromium.events if event.get("method") == "Network.requestWillBeSent"]
    assert asked == [report.as_uri()]
    wrong = [
        event
        for event in chromium.events
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    ]
    assert wrong == []
    if os.environ.get("TRTBENCH_SCREENSHOTS"):
        chromium.screenshot(Path(os.environ["TRTBENCH_SCREENSHOTS"]) / f"{report.parent.parent.name}-{width}.png")


def test_the_check_sees_a_request_when_there_is_one(chromium: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png">', encoding="utf-8")
    chromium.open(page, 400)
    asked = [event["params"]["request"]["url"] for event in chromium.events if event.get("method") == "Network.requestWillBeSent"]
    assert asked == [page.as_uri(), "http://127.0.0.1:9/x.png"]
