"""Loading and unloading of models, through a server's API or its polling of the repository, and the state of their versions."""

from __future__ import annotations

import http.client
import json
from collections.abc import Collection
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from trtbench.experiments.hot_reload.live_repository import REVISION, Change
from trtbench.system.clock import now_ns, seconds_ns, sleep_s

_INDEX_TIMEOUT_S = 5.0
_LOOK_S = 0.02
_MOST_BYTES = 16 << 20  # the longest answer; an index of thousands of models has less than 1 MiB
LONGEST_S = 120.0


class ControlError(RuntimeError):
    """The server refused, or did not answer. The message is that of the server if it gave one."""


class Control(Protocol):
    """Changes the models of a server. Nothing is retried. It may be used from several threads."""

    def load(self, change: Change) -> None:
        """Load what the repository contains now; returns when it is served. ControlError if it does not load."""

    def unload(self, model: str) -> None:
        """Unload a model, after its files were changed or removed; returns when it accepts no new request. ControlError if refused."""

    def versions(self, models: Collection[str]) -> dict[str, str]:
        """The state of each version in the index (READY, LOADING, UNLOADING, UNAVAILABLE); ControlError if it cannot be read."""


class ExplicitControl:
    """Uses Triton's model repository API over HTTP, for --model-control-mode=explicit.

    `timeout_s` is the longest wait for a load or an unload."""

    def __init__(self, http_address: str, timeout_s: float = LONGEST_S) -> None:
        self._server, self._timeout_s = Http(http_address), timeout_s

    def load(self, change: Change) -> None:
        self._server.ask(f"/v2/repository/models/{quote(change.model)}/load", {}, self._timeout_s)

    def unload(self, model: str) -> None:
        """Requests in flight may continue in the old model."""
        self._server.ask(f"/v2/repository/models/{quote(model)}/unload", {}, self._timeout_s)

    def versions(self, models: Collection[str]) -> dict[str, str]:
        return {version: state for version, (state, _) in self._server.index(models).items()}


class PolledControl:
    """Waits for a server with --model-control-mode=poll, which finds changes itself, by reading the index and the served config.pbtxt
    for up to `timeout_s`.
    """

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
            if not self._server.serves(model):  # the index omits a model without a directory, which serves until the next poll
                return
            sleep_s(_LOOK_S)
        raise ControlError(f"{model} is still served {self._timeout_s:g} s after its directory was removed")

    def versions(self, models: Collection[str]) -> dict[str, str]:
        return {version: state for version, (state, _) in self._server.index(models).items()}


CONTROLS: dict[str, type[ExplicitControl | PolledControl]] = {"explicit": ExplicitControl, "poll": PolledControl}


class Http:
    """Triton's HTTP API, with its own connection for each request."""

    def __init__(self, address: str) -> None:
        self._address = address

    def index(self, models: Collection[str]) -> dict[str, tuple[str, str]]:
        """(State, reason) by version. The `models` have no version numbers in common."""
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
        """The revision of the config.pbtxt that is served; empty if it has none or nothing is served."""
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
        """The JSON answer to a POST of `body`, or to a GET if there is none."""
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
            message = answer.get("error") if isinstance(answer, dict) else None
            raise ControlError(str(message or f"{path} answered {status}"))
        return answer
