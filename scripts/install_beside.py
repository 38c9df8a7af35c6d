#!/usr/bin/env python3
"""Installs trtbench beside a container image's own Python packages: in a virtual environment that sees them and changes none.

    python3 scripts/install_beside.py /opt/trtbench                       in an image with TensorRT-LLM
    python3 scripts/install_beside.py /opt/trtbench --extra tensorrt      in Triton's -py3 image, for the TensorRT encoder

NVIDIA's images hold torch, numpy and tensorrt_llm in versions that fit one another and nothing else. Every package that the image has
is therefore a constraint for pip; what is missing comes in the version of constraints.txt, or, where that does not fit the image, in one
that does. At the end every package of the image is looked up from inside the environment: if one would be another, the script ends with
exit code 1, and nothing stays. The image's own pip installs; ensurepip is asked only where the image has none.

The image's `python3` may itself be a virtual environment (/opt/venv-tritonserver since 26.03). The new environment is then made of the
Python below it and adds the image's site-packages by a .pth file, so that pip calls them satisfied and leaves them alone.

Some packages are chosen by trial, since what they ask for is not what they need: tritonclient asks for far narrower gRPC and protobuf than
its messages, all that is used of it, pyarrow does not ask for the NumPy that it was built for, and TensorRT's bindings run on the libraries
that the image's Triton has. Last, every module of trtbench is imported. A package of an optional group (pyproject.toml) may be missing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
CUDA = Path("/usr/local/cuda")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==")
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?", re.IGNORECASE)
TRIED = {
    "tritonclient": ("2.73.0", "2.71.0"),  # messages for protobuf 6.33 and gRPC 1.81; for protobuf 5.26 and gRPC 1.63
    "pyarrow": ("26.0.1", "25.0.1", "19.0.1"),  # for NumPy 2; the next two ran with NumPy 1.26
}
TRIALS = {
    "tritonclient": "from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc",
    "pyarrow": "import pyarrow.parquet",
}
PIP_SETTINGS = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV")
"""Settings of an image for its own installs. What is installed in it is pinned here anyway; the rest would move or refuse ours."""
TRITONCLIENT_NEEDS = ("python-rapidjson", "ml-dtypes", "urllib3")
IMPORT_ALL = """
import importlib, importlib.metadata, pkgutil, re, traceback, trtbench
lines = importlib.metadata.requires("trtbench") or ()
named = [re.match("[A-Za-z0-9._-]+", line)[0] for line in lines if re.search("extra == .(?!dev.)", line)]
optional = {re.sub("[-.]", "_", name).lower() for name in named}
top = lambda name: (name or "").split(".")[0].lower()
for module in pkgutil.walk_packages(trtbench.__path__, "trtbench."):
    try:
        module.name.endswith("__main__") or importlib.import_module(module.name)
    except (ImportError, OSError) as error:
        passed = {top(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)}
        if not optional & ({top(getattr(error, "name", None))} | passed):
            raise
        print(f"install_beside: {module.name} cannot be used here ({error})")
"""
NEEDS = """
import importlib.metadata, json
print(json.dumps(importlib.metadata.requires("trtbench") or ()))
"""
TENSORRT_TRIAL = """
import pathlib, sys
import tensorrt
from tensorrt import Builder, OnnxParser
assert tensorrt.__version__.split(".")[:4] == sys.argv[1].split("."), f"tensorrt is {tensorrt.__version__}, not {sys.argv[1]}"
found = {line.split()[-1] for line in open("/proc/self/maps") if "libnvinfer.so" in line}
resources = [path for library in found for path in pathlib.Path(library).parent.glob("libnvinfer_builder_resource*")]
assert resources, f"libnvinfer_builder_resource is not beside {found}, so no plan can be built"
"""
LIST = """
import importlib.metadata, json
found = {}
for one in importlib.metadata.distributions():
    if one.metadata["Name"]:
        found.setdefault(one.metadata["Name"], one.version)
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Install trtbench into a virtual environment beside this Python's packages.")
    parser.add_argument("environment", type=Path, help="directory to make; must not exist")
    parser.add_argument("source", nargs="?", default=str(CHECKOUT), help="checkout or wheel; default: this checkout")
    parser.add_argument("--extra", action="append", default=[], metavar="GROUP", help="optional group of pyproject.toml, as tensorrt")
    parser.add_argument("--with", dest="more", nargs="+", default=[], metavar="PACKAGE", help="further packages, under the same rules")
    arguments = parser.parse_args()
    if arguments.environment.exists():
        parser.error(f"{arguments.environment} exists: remove it, or name another directory")
    for name in PIP_SETTINGS:
        os.environ.pop(name, None)
    problem = install_beside(arguments.environment.absolute(), arguments.source, arguments.extra, arguments.more)
    if problem:
        shutil.rmtree(arguments.environment, ignore_errors=True)
        print(f"install_beside: {problem}", file=sys.stderr)
    return 1 if problem else 0


def install_beside(environment: Path, source: str, extras: Sequence[str] = (), more: Sequence[str] = ()) -> str | None:
    """None when all is installed and nothing of the image changed; else what is wrong, with the remedy."""
    image = installed(sys.executable)
    if "tensorrt" in extras and not (has_tensorrt(image) or tensorrt_version()):
        return "TRT_VERSION and CUDA_VERSION do not say which TensorRT this is, nor do libraries; run in NVIDIA's -py3 image, or set both"
    python = make_environment(environment)
    if not (runs(python, "import pip") or runs(python, "import ensurepip; ensurepip.bootstrap()")):
        return f"{sys.executable} has neither pip nor ensurepip; install python3-pip in the image"
    if not pip_install(python, ["--no-deps", source]):
        return f"{source} could not be installed; pip's message is above"
    problem = add_packages(python, image, [*needed(python, extras), *TRITONCLIENT_NEEDS, *more])
    if not problem and "tensorrt" in extras and not has_tensorrt(image):
        problem = add_tensorrt(python, *tensorrt_version())
    if problem:
        return problem
    if not runs(python, IMPORT_ALL):
        return "trtbench cannot be imported beside the image's packages (above); take a newer image"
    after = installed(python)
    changed = {name: (version, after.get(name)) for name, version in image.items() if after.get(name) != version}
    if changed:
        return "it would change the image's " + ", ".join(f"{name} {old} to {new}" for name, (old, new) in sorted(changed.items()))
    added = sorted(f"{name} {version}" for name, version in after.items() if name not in image)
    print(f"install_beside: {len(image)} packages of the image as they were; added: {', '.join(added)}")
    return None


def make_environment(environment: Path) -> str:
    """The new environment's Python, which sees what this one sees; if this one is a virtual environment's, that by a .pth file."""
    nested = sys.prefix != sys.base_prefix
    system = not nested or "include-system-site-packages = true" in (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8").lower()
    venv.EnvBuilder(system_site_packages=system, symlinks=True).create(environment)
    python = str(environment / "bin" / "python")
    if nested:
        own = Path(answer(python, "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"))
        image = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        lines = "".join(f"import site; site.addsitedir({directory!r})\n" for directory in image)
        (own / "image.pth").write_text(lines, encoding="utf-8")
    return python


def needed(python: str, extras: Sequence[str]) -> list[str]:
    """What trtbench asks for, with these groups; less what is chosen by trial."""
    groups = "|".join(re.escape(extra.replace("_", "-")) for extra in extras)
    found = []
    for line in answer(python, NEEDS):
        requirement, _, marker = line.partition(";")
        if "extra ==" not in marker or (groups and re.search(f"extra == .({groups}).", marker)):
            found.append(requirement.strip())
    return [requirement for requirement in found if not requirement.startswith((*TRIED, "tensorrt"))]


def add_packages(python: str, image: dict[str, str], needs: Sequence[str]) -> str | None:
    if not pip_install(python, needs, [*image_pins(image), *own_pins(image)]):
        print("install_beside: the pins of constraints.txt do not all fit this image; once more with the image's alone", file=sys.stderr)
        if not pip_install(python, needs, image_pins(image)):
            return "pip found no versions that leave the image's packages as they are (its message is above); take a newer image"
    for name, versions in TRIED.items():
        choices = (image[name],) if name in image else versions
        if not any(works(python, name, version) for version in choices):
            return f"no {name} of {', '.join(choices)} works with the image's packages (above); take a newer image"
    return None


def has_tensorrt(image: dict[str, str]) -> bool:
    return any(name in image for name in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"))


def tensorrt_version() -> tuple[str, ...]:
    """(version of this Triton's TensorRT, CUDA's major), as NVIDIA's images name them, else as their libraries say; empty without both."""
    version = re.match(r"\d+\.\d+\.\d+\.\d+", os.environ.get("TRT_VERSION") or library_version())
    cuda = re.match(r"\d+", os.environ.get("CUDA_VERSION") or toolkit_version())
    return (version[0], cuda[0]) if version and cuda else ()


def library_version() -> str:
    """Of the libnvinfer that the loader finds, which needs no driver for that."""
    for major in (11, 10):
        try:
            library = ctypes.CDLL(f"libnvinfer.so.{major}")
            return ".".join(str(getattr(library, f"getInferLib{part}Version")()) for part in ("Major", "Minor", "Patch", "Build"))
        except (OSError, AttributeError):
            continue
    return ""


def toolkit_version() -> str:
    try:
        return str(json.loads((CUDA / "version.json").read_text(encoding="utf-8"))["cuda"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def add_tensorrt(python: str, version: str, cuda: str) -> str | None:
    """TensorRT's Python in that version: its bindings over the image's own libraries, else with libraries of their own."""
    name = f"tensorrt-cu{cuda}"
    bindings = [f"{part}=={version}.*" for part in (name, f"{name}-bindings")]  # .* takes a .post1 too, and never another build
    for packages in (bindings, [*bindings, f"{name}-libs=={version}.*"]):
        if pip_install(python, ["--no-deps", *packages]) and runs(python, TENSORRT_TRIAL, version, LD_LIBRARY_PATH=library_path()):
            return None
    return f"no {name} {version} works with this image (above); plans are read by that TensorRT alone, so take an image with another"


def library_path() -> str:
    """With the driver's library that CUDA images carry: while an image is built there is no driver."""
    return ":".join(filter(None, (os.environ.get("LD_LIBRARY_PATH"), "/usr/local/cuda/compat/lib.real", "/usr/local/cuda/compat")))


def works(python: str, name: str, version: str) -> bool:
    return pip_install(python, ["--no-deps", f"{name}=={version}"]) and runs(python, TRIALS[name])


def runs(python: str, code: str, *arguments: str, **variables: str) -> bool:
    return subprocess.run([python, "-c", code, *arguments], cwd="/", env=os.environ | variables, check=False).returncode == 0


def installed(python: str) -> dict[str, str]:
    """Version of every package that `python` would import; of two of one name the first on its path."""
    return {normal(name): version for name, version in answer(python, LIST).items() if normal(name) != "trtbench"}


def answer(python: str, code: str) -> Any:
    return json.loads(subprocess.run([python, "-c", code], cwd="/", stdout=subprocess.PIPE, text=True, check=True).stdout)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def image_pins(image: dict[str, str]) -> list[str]:
    """Versions that are none by PEP 440, as distributions' own have, cannot be pinned; the look-up at the end covers them."""
    return [f"{name}=={version}" for name, version in image.items() if VERSION.fullmatch(version)]


def own_pins(image: dict[str, str]) -> list[str]:
    """Lines of constraints.txt for packages that the image lacks."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if (pin := PIN.match(line)) and normal(pin[1]) not in image]


def pip_install(python: str, what: Sequence[str], pins: Sequence[str] = ()) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        constraints = Path(directory) / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command = [python, "-m", "pip", "install", "--no-cache-dir", "--constraint", str(constraints), *what]
        return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
