"""Finds an installation of Triton: that of an NGC container, one on PATH, or the one in the `nvidia-pytriton` wheel."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from trtbench.errors import UserError

NGC_ROOT = Path("/opt/tritonserver")
_WHEEL = "nvidia-pytriton"
_WHEEL_TRITON = {"0.7.0": "2.51.0"}  # as a running server reports it; the binary has no --version


class InstallationError(UserError):
    """There is no Triton that this Python can use; the message names the cause and the remedy."""


@dataclass(frozen=True)
class TritonInstallation:
    """An installation of Triton. `stub` is the wheel's Python stub for the running Python, or None if Triton has its own stub."""

    source: str  # "NGC container", "PATH" or "nvidia-pytriton wheel"
    binary: Path
    backends: Path
    stub: Path | None = None
    version: str = "of unknown version"  # according to the files; only a running server reports it with certainty

    @property
    def caches(self) -> Path:
        """The directory with the libraries of its response caches."""
        return self.backends.parent / "caches"

    def stage(self, directory: Path) -> Path:
        """The backend directory to serve from. For the wheel these are links, which place its stub next to its Python backend."""
        if self.stub is None:
            return self.backends
        python = directory / "python"
        python.mkdir(parents=True)
        for file in (*(self.backends / "python").iterdir(), self.stub):
            (python / file.name).symlink_to(file)
        return directory

    def environment(self) -> dict[str, str]:
        """This process's environment, and what the wheel's Python stub needs to find the interpreter's libpython and packages."""
        if self.stub is None:
            return dict(os.environ)
        search = {"LD_LIBRARY_PATH": str(libpython().parent), "PATH": str(Path(sys.executable).parent)}
        return os.environ | {key: os.pathsep.join(filter(None, (first, os.environ.get(key)))) for key, first in search.items()}


def find_tritonserver() -> TritonInstallation:
    """The installation to use; InstallationError if there is none, or if this Python cannot use that of the wheel."""
    ngc = NGC_ROOT / "bin" / "tritonserver"
    if ngc.is_file():
        return TritonInstallation("NGC container", ngc, NGC_ROOT / "backends", version=_written_version(NGC_ROOT))
    on_path = shutil.which("tritonserver")
    if on_path and not Path(on_path).resolve().is_relative_to(sys.prefix):
        binary = Path(on_path).resolve()
        root = binary.parent.parent
        return TritonInstallation("PATH", binary, root / "backends", version=_written_version(root))
    return _from_wheel()


def _from_wheel() -> TritonInstallation:
    try:
        wheel = distribution(_WHEEL)
    except PackageNotFoundError:
        raise InstallationError(
            f"no tritonserver: not at {NGC_ROOT}, not on PATH, and the package {_WHEEL} is not installed; "
            "`make setup` installs it, NVIDIA's Triton containers bring their own"
        ) from None
    root = Path(str(wheel.locate_file("pytriton/tritonserver")))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = root / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.is_file():
        raise InstallationError(f"the package {_WHEEL} has no Python stub for Python {python}: use Python 3.10 to 3.13")
    libpython()
    binary = root / "bin" / "tritonserver"
    return TritonInstallation("nvidia-pytriton wheel", binary, root / "backends", stub, _WHEEL_TRITON.get(wheel.version, wheel.version))


def _written_version(root: Path) -> str:
    """Triton's version in the file that NVIDIA's images have."""
    file = root / "TRITON_VERSION"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else TritonInstallation.version


def libpython() -> Path:
    """This interpreter's shared library, which Triton's Python stub is linked with; InstallationError if it has none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"libpython{version}.so.1.0"
    for variable in ("LIBDIR", "LIBPL"):
        path = Path(sysconfig.get_config_var(variable) or "/") / name
        if path.is_file():
            return path
    multiarch = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "") / name
    if multiarch.is_file():
        return multiarch
    raise InstallationError(
        f"this Python has no shared library ({name}), which Triton's Python backend needs: on Debian `apt-get install libpython{version}`; "
        "a Python built from source needs --enable-shared"
    )
