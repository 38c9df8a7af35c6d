"""Reloads in their order, without a server: what is told to the server, the client and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from trtbench.experiments.hot_reload.live_repository import Change, LiveRepository, reloadable
from trtbench.experiments.hot_reload.model_control import ControlError
from trtbench.experiments.hot_reload.run import Reloader
from trtbench.experiments.hot_reload.spec import HotReload
from trtbench.run.load_run import _accompanied
from trtbench.rundir.event_kinds import EventData, StageStarted
from trtbench.rundir.experiment_events import ReloadFinished
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository

pytestmark = pytest.mark.timeout(20)


class World:
    """Control and pool in one; `told` is all that they heard. A load of the version that it `refuses` fails."""

    def __init__(self, refuses: str = "") -> None:
        self.told: list[str] = []
        self.refuses = refuses

    def load(self, change: Change) -> None:
        self.told.append(f"load {change.model} {change.version}")
        if change.version == self.refuses:
            raise ControlError("no")

    def unload(self, model: str) -> None:
        self.told.append(f"unload {model}")

    def versions(self, models: Collection[str]) -> dict[str, str]:
        return {"1": "READY"}

    async def switch(self, model: str) -> None:
        self.told.append(f"switch {model}")

    def renew(self) -> None:
        self.told.append("renew")

    def interrupt(self) -> None:
        self.told.append("interrupt")


def run(tmp_path: Path, world: World, kinds: list[dict[str, Any]], **more: Any) -> list[ReloadFinished]:
    """The data of reload_finished, one a reload."""
    (tmp_path / "source").mkdir(exist_ok=True)
    asked = HotReload.model_validate({"before_s": 0, "every_s": 0.01, "reloads": kinds} | more)
    config = 'name: "m"\ndynamic_batching { max_queue_delay_microseconds: 100 }\n'
    repository = reloadable(RenderedRepository("m", config, tmp_path / "source", KvBudget(1, 32, "fp16", 1, 1)), asked)
    live = LiveRepository(repository.write(tmp_path / "repository"), repository)
    finished: list[ReloadFinished] = []

    async def main() -> None:
        done = asyncio.Event()

        def emit(data: EventData) -> None:
            if isinstance(data, ReloadFinished):
                finished.append(data)
                if len(finished) == len(asked.planned):
                    done.set()

        async with _accompanied(Reloader(asked, world, live, {}), world, emit) as event:  # type: ignore[arg-type]
            event(StageStarted(name="open", mode="constant", asked=1))
            await done.wait()

    asyncio.run(main())
    return finished


def test_blue_and_green_take_turns(tmp_path: Path) -> None:
    world = World()
    first, second = run(tmp_path, world, [{"kind": "blue_green"}], repeats=2)
    assert world.told == [
        *("load m-green 2", "switch m-green", "unload m"),
        *("load m 3", "switch m", "unload m-green"),
    ]
    assert (first.version, second.version, second.repeat) == ("2", "3", 2)
    assert first.ok and first.drain_s is not None and first.switched_s >= first.loaded_s
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["m"]


def test_a_green_model_that_does_not_load_leaves_the_blue_one(tmp_path: Path) -> None:
    world = World(refuses="2")
    (one,) = run(tmp_path, world, [{"kind": "blue_green"}])
    assert world.told == ["load m-green 2"] and (one.ok, one.error) == (False, "no")
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["m"]


def test_streams_are_renewed_where_the_version_keeps_its_number(tmp_path: Path) -> None:
    world = World()
    kinds = [{"kind": "new_version"}, {"kind": "changed_config", "max_queue_delay_us": 5}, {"kind": "unload_load"}]
    run(tmp_path, world, kinds)
    assert world.told == ["load m 2", "load m 2", "renew", "unload m", "load m 2", "renew"]


def test_polled_an_unload_is_a_directory_that_is_away(tmp_path: Path) -> None:
    model = tmp_path / "repository" / "m"

    class Watching(World):
        def unload(self, name: str) -> None:
            self.told.append(f"away {not model.exists()}")

    world = Watching()
    run(tmp_path, world, [{"kind": "unload_load"}], control="poll")
    assert world.told == ["away True", "load m 1", "renew"] and model.exists()


@pytest.mark.parametrize(("control", "more"), [("explicit", []), ("poll", ["load m 1", "renew"])])
def test_polled_what_serves_is_loaded_anew_when_what_broke_is_taken_away(tmp_path: Path, control: str, more: list[str]) -> None:
    world = World(refuses="2")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.py").touch()
    (one,) = run(tmp_path, world, [{"kind": "broken"}], control=control)
    assert world.told == ["load m 2", *more]
    assert (one.ok, one.error, one.restored_s is not None) == (False, "no", bool(more))


def test_a_fault_of_ours_ends_the_load_at_once(tmp_path: Path) -> None:
    class Broken(World):
        def load(self, change: Change) -> None:
            raise RuntimeError("a bug")

    world = Broken()

    async def main() -> None:
        (tmp_path / "source").mkdir()
        asked = HotReload.model_validate({"before_s": 0, "reloads": [{"kind": "new_version"}]})
        repository = RenderedRepository("m", 'name: "m"\n', tmp_path / "source", KvBudget(1, 32, "fp16", 1, 1))
        live = LiveRepository(repository.write(tmp_path / "repository"), repository)
        async with _accompanied(Reloader(asked, world, live, {}), world, lambda data: None) as event:  # type: ignore[arg-type]
            event(StageStarted(name="open", mode="constant", asked=1))
            while "interrupt" not in world.told:
                await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(main())
    assert world.told == ["interrupt", "interrupt"]
