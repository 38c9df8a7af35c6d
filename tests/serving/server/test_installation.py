from __future__ import annotations

import os
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from trtbench.serving.server import installation
from trtbench.serving.server.installation import InstallationError, TritonInstallation, find_tritonserver, libpython


@pytest.fixture
def ngc_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an NGC container has its Triton; empty so far, and there is none on PATH."""
    monkeypatch.setattr(installation, "NGC_ROOT", tmp_path / "opt")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    return tmp_path / "opt"


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def fake_wheel(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    class FakeDistribution:
        version = "0.7.0"

        def locate_file(self, name: str) -> Path:
            return root / name

    monkeypatch.setattr(installation, "distribution", lambda name: FakeDistribution())
    return root / "pytriton" / "tritonserver"


def test_the_containers_triton_comes_first(ngc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = executable(ngc_root / "bin" / "tritonserver")
    executable(tmp_path / "nowhere" / "tritonserver")
    found = find_tritonserver()
    assert (found.source, found.binary, found.backends) == ("NGC container", binary, ngc_root / "backends")
    assert found.stage(tmp_path / "staged") == ngc_root / "backends"
    assert not (tmp_path / "staged").exists()
    assert found.environment() == dict(os.environ)


def test_then_the_one_on_path(ngc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = executable(tmp_path / "triton" / "bin" / "tritonserver")
    monkeypatch.setenv("PATH", str(binary.parent))
    found = find_tritonserver()
    assert (found.source, found.binary, found.backends) == ("PATH", binary, tmp_path / "triton" / "backends")


def test_a_launcher_of_this_environment_is_not_taken_for_one_on_path(
    ngc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = executable(tmp_path / "venv" / "bin" / "tritonserver")
    monkeypatch.setenv("PATH", str(binary.parent))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    fake_wheel(tmp_path / "site-packages", monkeypatch)
    with pytest.raises(InstallationError, match="no Python stub for Python"):
        find_tritonserver()


def test_the_wheels_stub_is_staged_beside_its_backend(ngc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_wheel(tmp_path / "site-packages", monkeypatch)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    executable(root / "bin" / "tritonserver")
    executable(root / "python_backend_stubs" / version / "triton_python_backend_stub")
    executable(root / "backends" / "python" / "libtriton_python.so")
    monkeypatch.setattr(installation, "libpython", lambda: Path("/opt/python/lib/libpython.so"))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/already/there")
    found = find_tritonserver()
    staged = found.stage(tmp_path / "staged")
    assert {path.name for path in (staged / "python").iterdir()} == {"libtriton_python.so", "triton_python_backend_stub"}
    assert all(path.exists() for path in (staged / "python").iterdir())
    environment = found.environment()
    assert environment["LD_LIBRARY_PATH"] == "/opt/python/lib:/already/there"
    assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert found.environment()["LD_LIBRARY_PATH"] == "/opt/python/lib"


def test_no_triton_anywhere_names_the_remedy(ngc_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", absent)
    with pytest.raises(InstallationError, match=r"no tritonserver.*nvidia-pytriton is not installed.*make setup"):
        find_tritonserver()


def test_a_python_without_a_shared_library_cannot_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    with pytest.raises(InstallationError, match=r"no shared library \(libpython3\.\d+\.so\.1\.0\).*apt-get install"):
        libpython()
    library = tmp_path / f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    library.touch()
    assert libpython() == library


def test_this_machines_triton_can_be_run(installation: TritonInstallation) -> None:
    assert os.access(installation.binary, os.X_OK)
    assert (installation.backends / "python").is_dir()
