"""Which version of the model serves, told from what it answered."""

from __future__ import annotations


class ServedVersion:
    """The version that answered the newest request: an older one may end a request late."""

    def __init__(self) -> None:
        self._version, self._sent_ns = "", 0

    def replaced_by(self, version: str, sent_ns: int) -> bool:
        """Take note of a request that was sent at `sent_ns`; whether it is the first that another version than before answered."""
        if not version or sent_ns < self._sent_ns:
            return False
        before, self._version, self._sent_ns = self._version, version, sent_ns
        return before not in ("", version)
