"""The hot-reload experiment: reloads at their instants beside the load, and a watch on which versions are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from trtbench.clock import NS_PER_S, now_ns, seconds_ns
from trtbench.scenario import HotReload, Reload
from trtbench.serving.control import ControlError, ModelControl
from trtbench.serving.live_repository import LiveRepository

_POLL_S = 0.1
EmitEvent = Callable[[str, dict[str, Any]], None]


class Reloader:
    """Reloads as `asked`; `configs` is the config.pbtxt of each engine that a reload switches to.

    Emits reload_started (reload, number, to), reload_finished (reload, number, seconds, load_s, unload_s, ok, error, versions_before,
    versions_after, version) and, on change, model_versions (versions). Calls of the server run in threads, so the load's loop goes on.
    """

    def __init__(self, asked: HotReload, control: ModelControl, repository: LiveRepository, configs: Mapping[str, str]) -> None:
        self._asked, self._control, self._repository, self._configs = asked, control, repository, configs

    async def run(self, opened: asyncio.Event, stop: asyncio.Event, emit: EmitEvent) -> None:
        """From `opened`, when the stage begins, until `stop`; a reload that has begun is brought to its end first."""
        watch = asyncio.create_task(self._watch(emit))
        try:
            await _either(opened, stop)
            start_ns = now_ns()
            for number, reload in enumerate(self._asked.reloads, 1):
                due_ns = start_ns + seconds_ns(self._asked.before_s + (number - 1) * self._asked.every_s)
                if await _stopped_before(stop, due_ns):
                    return
                await self._reload(number, reload, emit)
            await stop.wait()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _reload(self, number: int, reload: Reload, emit: EmitEvent) -> None:
        named = {"reload": reload.kind, "number": number, "to": reload.to}
        before = await asyncio.to_thread(self._versions)
        emit("reload_started", named)
        start_ns = now_ns()
        outcome = await asyncio.to_thread(self._do, reload)
        elapsed_s = (now_ns() - start_ns) / NS_PER_S
        after = await asyncio.to_thread(self._versions)
        emit("reload_finished", named | outcome | {"seconds": elapsed_s, "versions_before": before, "versions_after": after})

    def _do(self, reload: Reload) -> dict[str, Any]:
        """In a thread. Whether it loaded, how long each call took, and the version that is new."""
        outcome: dict[str, Any] = {"ok": False, "error": "", "load_s": None, "unload_s": None, "version": None}
        try:
            if reload.kind == "broken":
                with self._repository.broken_version() as outcome["version"]:
                    self._load(outcome)
            else:
                if reload.kind == "new_version":
                    outcome["version"] = self._repository.add_version(self._configs[reload.to] if reload.to else None)
                elif reload.kind == "changed_config":
                    self._repository.set_queue_delay(reload.max_queue_delay_us or 0)
                else:
                    outcome["unload_s"] = _timed(self._control.unload)
                self._load(outcome)
        except (ControlError, OSError, ValueError) as error:
            outcome["error"] = str(error)
        return outcome

    def _load(self, outcome: dict[str, Any]) -> None:
        start_ns = now_ns()
        try:
            self._control.load()
            outcome["ok"] = True
        finally:
            outcome["load_s"] = (now_ns() - start_ns) / NS_PER_S

    def _versions(self) -> dict[str, str] | None:
        """None when the server does not say."""
        try:
            return self._control.versions()
        except ControlError:
            return None

    async def _watch(self, emit: EmitEvent) -> None:
        seen: dict[str, str] | None = None
        while True:
            versions = await asyncio.to_thread(self._versions)
            if versions is not None and versions != seen:
                emit("model_versions", {"versions": versions})
                seen = versions
            await asyncio.sleep(_POLL_S)


def _timed(call: Callable[[], None]) -> float:
    start_ns = now_ns()
    call()
    return (now_ns() - start_ns) / NS_PER_S


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _stopped_before(stop: asyncio.Event, due_ns: int) -> bool:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0, due_ns - now_ns()) / NS_PER_S)
    return stop.is_set()
