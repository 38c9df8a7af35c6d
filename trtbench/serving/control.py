"""Triton's model repository API over HTTP: load, unload, and which versions are in what state."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any
from urllib.parse import quote

_INDEX_TIMEOUT_S = 5.0


class ControlError(RuntimeError):
    """The server refused, or did not answer; the message is the server's own where it gave one."""


class ModelControl:
    """One model of a server in explicit control mode; nothing is retried. Safe to use from several threads.

    `timeout_s`: longest wait for a load or an unload.
    """

    def __init__(self, http_address: str, model: str, timeout_s: float = 120.0) -> None:
        self._address, self._model, self._timeout_s = http_address, model, timeout_s

    def load(self) -> None:
        """Load what the repository holds now; returns when it serves. ControlError when it does not load."""
        self._post(f"/v2/repository/models/{quote(self._model)}/load", {}, self._timeout_s)

    def unload(self) -> None:
        """Returns when the unload has begun: requests in flight may go on in the old model. ControlError when refused."""
        self._post(f"/v2/repository/models/{quote(self._model)}/unload", {}, self._timeout_s)

    def versions(self) -> dict[str, str]:
        """State by version as the index has it (READY, LOADING, UNLOADING, UNAVAILABLE); ControlError when it cannot be had."""
        rows = self._post("/v2/repository/index", {}, _INDEX_TIMEOUT_S)
        try:
            found = {str(row["version"]): str(row["state"]) for row in rows if row["name"] == self._model and row.get("version")}
        except (TypeError, KeyError) as error:
            raise ControlError(f"the repository index is not as Triton writes it: {rows!r:.200}") from error
        return dict(sorted(found.items()))

    def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> Any:
        with closing(http.client.HTTPConnection(self._address, timeout=timeout_s)) as connection:
            try:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = connection.getresponse()
                status, text = response.status, response.read().decode("utf-8", errors="replace")
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
