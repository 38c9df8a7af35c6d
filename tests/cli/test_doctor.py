from __future__ import annotations

import os
import resource
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from trtbench.cli import doctor
from trtbench.cli.doctor import (
    Check,
    check_descriptors,
    check_disk,
    check_fonts,
    check_gpu_control,
    check_held_gpus,
    check_providers,
    check_shared_memory,
    check_writable,
    examine,
)
from trtbench.errors import UserError
from trtbench.gpu import inventory
from trtbench.gpu.journal import Held, Journal, Owner, save, state_directory
from trtbench.system.memory import MemoryBound

GIB = 1 << 30


def _examine(tmp_path: Path) -> dict[str, Check]:
    checks = examine(lambda: "2.51.0", lambda: Path("/lib/libpython3.so"), {"openvino": None}, tmp_path / "cache", tmp_path / "runs")
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


@pytest.mark.process
def test_examines_this_machine(tmp_path: Path) -> None:
    checks = _examine(tmp_path)
    assert checks["tritonserver"] == Check("tritonserver", "ok", "2.51.0")
    assert checks["provider openvino"].status == "ok"
    assert checks["ports"].status == "ok"
    assert checks["output directory"].status == checks["cache directory"].status == "ok"
    assert not list(tmp_path.iterdir())  # it looks, it makes nothing


def test_shared_memory_of_a_container_without_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_shared_memory(tmp_path / "none").found.startswith("0 MiB free")
    for free, status, says in ((64 << 20, "warn", "64 MiB free"), (2 * GIB, "ok", "2.0 GiB free")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        check = check_shared_memory(tmp_path)
        assert (check.status, check.found.startswith(says), "--shm-size" in check.remedy) == (status, True, status == "warn")


@pytest.mark.process
def test_every_line_that_is_not_ok_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise UserError("nowhere to be found")

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=GIB))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * GIB))
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, 1024))
    monkeypatch.setattr(inventory, "describe", list)
    monkeypatch.setattr(inventory, "probe", lambda: "no NVIDIA driver library")
    monkeypatch.setattr(doctor, "_FONT_DIRECTORIES", (str(tmp_path),))
    checks = {check.name: check for check in examine(absent, absent, {"openvino": "not installed"}, tmp_path, tmp_path)}
    assert {name for name, check in checks.items() if check.status == "fail"} == {"tritonserver", "providers", "memory"}
    warned = {"libpython", "provider openvino", "gpu", "output disk", "cache disk", "cores", "file descriptors", "chromium", "Chinese font"}
    assert {name for name, check in checks.items() if check.status == "warn"} == warned
    assert all(check.remedy for check in checks.values() if check.status != "ok")
    assert not any(check.remedy for check in checks.values() if check.status == "ok")
    assert checks["tritonserver"].found == "nowhere to be found"
    assert checks["gpu"].found == "no NVIDIA driver library"


def test_an_error_that_is_none_of_the_machine_is_not_swallowed(tmp_path: Path) -> None:
    def broken() -> str:
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        examine(broken, lambda: "", {}, tmp_path, tmp_path)


def test_providers_fail_only_when_none_can_build() -> None:
    some = check_providers({"tensorrt_llm": "no GPU; use a GPU node", "openvino": None})
    assert [(check.status, check.found, check.remedy) for check in some] == [
        ("warn", "no GPU", "use a GPU node"),
        ("ok", "can build engines here", ""),
    ]
    assert check_providers({"tensorrt_llm": "no GPU; use a GPU node"})[-1].status == "fail"
    assert check_providers({})[-1].status == "fail"


@pytest.mark.process
def test_gpus_are_named_with_their_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "describe", lambda: [{"index": 0, "name": "Fake GPU"}, {"index": 1}])
    monkeypatch.setattr(inventory, "probe", lambda: "driver 550.54.14")
    checks = _examine(tmp_path)
    assert checks["gpu"] == Check("gpu", "ok", "Fake GPU, unnamed; driver 550.54.14")
    assert "gpu control" in checks


def test_gpu_control_needs_root() -> None:
    assert check_gpu_control(0).status == "ok"
    assert check_gpu_control(1000).status == "warn"


@pytest.mark.parametrize(
    ("soft", "hard", "status", "remedy"),
    [
        (4096, 4096, "ok", ""),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, "ok", ""),
        (1024, 1_048_576, "warn", "ulimit -n 4096"),
        (1024, resource.RLIM_INFINITY, "warn", "ulimit -n 4096"),
        (1024, 2048, "warn", "hard limit (2048)"),
    ],
)
def test_descriptors(soft: int, hard: int, status: str, remedy: str) -> None:
    check = check_descriptors(soft, hard)
    assert check.status == status
    assert remedy in check.remedy


@pytest.mark.parametrize(("free_gib", "status"), [(1.9, "fail"), (2.0, "warn"), (4.9, "warn"), (5.0, "ok")])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gib: float, status: str) -> None:
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=int(free_gib * GIB)))
    check = check_disk("disk", tmp_path / "not" / "yet" / "there")
    assert check.status == status
    assert asked == [tmp_path]


def test_a_directory_that_cannot_be_written_fails(tmp_path: Path) -> None:
    assert check_writable("cache", tmp_path / "new").status == "ok"
    check = check_writable("cache", Path("/proc/here"))  # a file system where nobody can write, root neither
    assert check.status == "fail"
    assert "/proc cannot be written" in check.found


def test_no_port_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: tuple[str, int]) -> socket.socket:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    check = _examine(tmp_path)["ports"]
    assert check.status == "fail"
    assert "Cannot assign requested address" in check.found


@pytest.mark.parametrize("file", ["noto/NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "SourceHanSansSC-Normal.otf", "simhei.ttf"])
def test_chinese_font_is_found(tmp_path: Path, file: str) -> None:
    assert check_fonts([tmp_path, tmp_path / "absent"]).status == "warn"
    font = tmp_path / file
    font.parent.mkdir(exist_ok=True)
    font.touch()
    assert check_fonts([tmp_path / "absent", tmp_path]) == Check("Chinese font", "ok", font.stem)


def test_latin_fonts_are_not_chinese(tmp_path: Path) -> None:
    (tmp_path / "DejaVuSans.ttf").touch()
    (tmp_path / "NotoSans-Regular.ttf").touch()
    assert check_fonts([tmp_path]).status == "warn"


def test_the_containers_memory_counts_where_it_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = (MemoryBound("machine", 64 * GIB, 60 * GIB), MemoryBound("cgroup", 4 * GIB, 3 * GIB))
    monkeypatch.setattr(doctor, "memory_bounds", lambda: bounds)
    check = doctor._memory()
    assert (check.status, check.remedy) == ("warn", "raise the container's memory limit")
    assert check.found == "3.0 GiB available in this container, limit 4.0 GiB, 4 are wanted"
    monkeypatch.setattr(doctor, "memory_bounds", lambda: bounds[:1])
    assert doctor._memory().found == "60.0 GiB available"


def test_gpus_that_are_held_or_were_left_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert check_held_gpus() == []
    directory = state_directory()
    directory.mkdir(parents=True)
    save(Journal("GPU-1", 3, "A GPU", Owner(7, 0.0, "trtbench gpu lock"), (Held("compute_mode", "default", 0),)), directory)
    (check,) = check_held_gpus()
    assert (check.status, check.found) == ("warn", "GPU 3: by process 7 (trtbench gpu lock)")
    (directory / "GPU-2.json").write_text("torn")
    assert "cannot be read" in check_held_gpus()[0].found
