"""A server told to load and unload models, or left to find out by itself; which versions are in what state."""

from __future__ import annotations

import http.client
import json
from collections.abc import Collection
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from trtbench.serving.repository.live_repository import REVISION, Change
from trtbench.system.clock import now_ns, seconds_ns, sleep_s

_INDEX_TIMEOUT_S = 5.0
_LOOK_S = 0.02
_MOST_BYTES = 16 << 20  # of an answer: an index of thousands of models has less than 1 MiB
LONGEST_S = 120.0


class ControlError(RuntimeError):
    """The server refused, or did not answer; the message is the server's own where it gave one."""


class Control(Protocol):
    """How the models of a server change; nothing is retried. Safe to use from several threads."""

    def load(self, change: Change) -> None:
        """Returns when what the repository has now serves. ControlError when it does not load."""

    def unload(self, model: str) -> None:
        """To be called when the model's files are as they are to be; returns when no new request is taken. ControlError when refused."""

    def versions(self, models: Collection[str]) -> dict[str, str]:
        """State by version as the index has it (READY, LOADING, UNLOADING, UNAVAILABLE); ControlError when it cannot be had."""


class ExplicitControl:
    """Triton's model repository API over HTTP, for --model-control-mode=explicit. `timeout_s`: longest wait for a load or an unload."""

    def __init__(self, http_address: str, timeout_s: float = LONGEST_S) -> None:
        self._server, self._timeout_s = Http(http_address), timeout_s

    def load(self, change: Change) -> None:
        self._server.ask(f"/v2/repository/models/{quote(change.model)}/load", {}, self._timeout_s)

    def unload(self, model: str) -> None:
        """Requests in flight may go on in the old model."""
        self._server.ask(f"/v2/repository/models/{quote(model)}/unload", {}, self._timeout_s)

    def versions(self, models: Collection[str]) -> dict[str, str]:
        return {version: state for version, (state, _) in self._server.index(models).items()}


class PolledControl:
    """--model-control-mode=poll: nothing is told, the index and the served config.pbtxt are watched for `timeout_s`."""

    def __init__(self, http_address: str, timeout_s: float = LONGEST_S) -> None:
        self._server, self._timeout_s = Http(http_address), timeout_s

    def load(self, change: Change) -> None:
        deadline_ns = now_ns() + seconds_ns(self._timeout_s)
        while now_ns() < deadline_ns:
            rows = self._server.index([change.model])
            state, reason = rows.get(change.version, ("", ""))
            if state == "UNAVAILABLE" and reason not in ("", "unloaded"):
                raise ControlError(reason)
            if state == "READY" and self._server.revision(change.model) == change.revision:
                return
            sleep_s(_LOOK_S)
        raise ControlError(f"{change.model} version {change.version} is not served {self._timeout_s:g} s after its files were written")

    def unload(self, model: str) -> None:
        deadline_ns = now_ns() + seconds_ns(self._timeout_s)
        while now_ns() < deadline_ns:
            if not self._server.serves(model):  # the index shows what has no directory no more, though it serves until the next look
                return
            sleep_s(_LOOK_S)
        raise ControlError(f"{model} is still served {self._timeout_s:g} s after its directory was taken away")

    def versions(self, models: Collection[str]) -> dict[str, str]:
        return {version: state for version, (state, _) in self._server.index(models).items()}


CONTROLS: dict[str, type[ExplicitControl | PolledControl]] = {"explicit": ExplicitControl, "poll": PolledControl}


class Http:
    """The questions, in Triton's JSON. Each has a connection of its own."""

    def __init__(self, address: str) -> None:
        self._address = address

    def index(self, models: Collection[str]) -> dict[str, tuple[str, str]]:
        """(state, reason) by version, whose numbers `models` do not share."""
        rows = self.ask("/v2/repository/index", {}, _INDEX_TIMEOUT_S)
        try:
            found = {
                str(row["version"]): (str(row["state"]), str(row.get("reason", "")))
                for row in rows
                if row["name"] in models and row.get("version")
            }
        except (TypeError, KeyError) as error:
            raise ControlError(f"the repository index is not as Triton writes it: {rows!r:.200}") from error
        return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))

    def revision(self, model: str) -> str:
        """Of the config.pbtxt that is served; "" where it has none or nothing is served."""
        try:
            config = self.ask(f"/v2/models/{quote(model)}/config", None, _INDEX_TIMEOUT_S)
        except ControlError:
            return ""
        parameters = config.get("parameters", {}) if isinstance(config, dict) else {}
        return str(parameters.get(REVISION, {}).get("string_value", ""))

    def serves(self, model: str) -> bool:
        try:
            self.ask(f"/v2/models/{quote(model)}/ready", None, _INDEX_TIMEOUT_S)
        except ControlError:
            return False
        return True

    def ask(self, path: str, body: dict[str, Any] | None, timeout_s: float) -> Any:
        """POST `body`, GET where there is none; the answer's JSON."""
        with closing(http.client.HTTPConnection(self._address, timeout=timeout_s)) as connection:
            try:
                if body is None:
                    connection.request("GET", path)
                else:
                    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = connection.getresponse()
                status, text = response.status, response.read(_MOST_BYTES).decode("utf-8", errors="replace")
            except (OSError, http.client.HTTPException) as error:
                raise ControlError(f"{path} on {self._address}: {error or type(error).__name__}") from error
        try:
            answer = json.loads(text) if text else {}
        except ValueError:
            answer = {"error": text}
        if status != http.client.OK:
            said = answer.get("error") if isinstance(answer, dict) else None
            raise ControlError(str(said or f"{path} answered {status}"))
        return answer
