"""A made-up container image: a Python with three packages, as a user site or as a virtual environment, and an index of wheels made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pip

from tests.containers.shown import ROOT

SCRIPT = ROOT / "scripts" / "install_beside.py"
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


def write_wheel(
    directory: Path, name: str, version: str, *needs: str, messages: str = "", code: str = "", files: dict[str, str] | None = None
) -> Path:
    """A wheel of one package; `code` goes into it, `messages` into its modules of messages, `files` beside it."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    with ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"version = {version!r}\n{code}\n")
        wheel.writestr(f"{name}/parquet.py", "")
        for module in ("__init__", "model_config_pb2", "service_pb2", "service_pb2_grpc"):
            wheel.writestr(f"{name}/grpc/{module}.py", messages)
        for file, text in (files or {}).items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


class Image:
    """Packages that the image's Python sees, and an index. As NVIDIA made them until 26.02 (a site that comes after an environment's own;
    here the user's) or since 26.03 (`nested`: the image's python3 is a virtual environment's, which holds them)."""

    def __init__(self, directory: Path, nested: bool = False) -> None:
        self.user, self.index, self.environment = directory / "image", directory / "index", directory / "environment"
        self.python = BASE_PYTHON
        self.packages = self.user / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        self.index.mkdir()
        if nested:
            subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", self.user], check=True)
            self.python = str(self.user / "bin" / "python3")
        self.packages.mkdir(parents=True, exist_ok=True)
        (self.packages / "pip").symlink_to(Path(pip.__file__).parent)
        for name, version in (
            ("python_rapidjson", "1.25"),
            ("ml_dtypes", "0.5.4"),
            ("urllib3", "2.8.0"),
            ("tritonclient", "2.73.0"),
            ("pyarrow", "26.0.1"),
        ):
            write_wheel(self.index, name, version)
        for name, version in (("torchlike", "2.9.0a0+nv25.10"), ("numpylike", "1.26.4"), ("distrolike", "0.1-3ubuntu2")):
            self.add(write_wheel(directory, name, version))

    def add(self, wheel: Path) -> None:
        with ZipFile(wheel) as opened:
            opened.extractall(self.packages)

    def files(self) -> dict[str, int]:
        """Every file of the image with its time of change, less what Python compiles."""
        found = (path for path in self.user.rglob("*") if path.is_file() and "__pycache__" not in path.parts and not path.is_symlink())
        return {str(path.relative_to(self.user)): path.stat().st_mtime_ns for path in found}

    def install(self, source: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PYTHONUSERBASE": str(self.user),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_CONFIG_FILE": os.devnull,
        }
        command = [self.python, str(SCRIPT), str(self.environment), str(source), *flags]
        return subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=120, check=False)

    def version_of(self, package: str) -> str:
        return self.run(f"import {package}; print({package}.version)")

    def run(self, code: str) -> str:
        python = self.environment / "bin" / "python"
        return subprocess.check_output([python, "-c", code], env={"PYTHONUSERBASE": str(self.user)}, cwd="/", text=True).strip()
