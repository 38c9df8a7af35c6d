#!/usr/bin/env python3
"""Installs trtbench beside a container image's own Python packages: in a virtual environment that sees them and changes none.

    python3 scripts/install_beside.py /opt/trtbench

NVIDIA's images hold torch, numpy and tensorrt_llm in versions that fit one another and nothing else. Every package that the image has
is therefore a constraint for pip; what is missing comes in the version of constraints.txt, or, where that does not fit the image, in one
that does. At the end every package of the image is looked up from inside the environment: one that would be another ends it with exit
code 1, and nothing stays. Needs no ensurepip: it is the image's own pip that installs.

Two packages are chosen by trial, since what they ask for is not what they need: tritonclient asks for far narrower gRPC and protobuf than
its messages, all that is used of it, and pyarrow does not ask for the NumPy that it was built for. Last, every module of trtbench is
imported, but for those of the CPU engines.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
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
TRITONCLIENT_NEEDS = ("python-rapidjson", "ml-dtypes", "urllib3")
IMPORT_ALL = """
import importlib, pkgutil, trtbench
of_cpu_engines = {"torch", "openvino", "openvino_genai", "optimum", "nncf", "transformers", "gguf"}
for module in pkgutil.walk_packages(trtbench.__path__, "trtbench."):
    try:
        module.name.endswith("__main__") or importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in of_cpu_engines:
            raise
"""
NEEDS = """
import importlib.metadata, json
print(json.dumps([line for line in importlib.metadata.requires("trtbench") or () if "extra ==" not in line]))
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
    parser.add_argument("--with", dest="more", nargs="+", default=[], metavar="PACKAGE", help="further packages, under the same rules")
    arguments = parser.parse_args()
    if arguments.environment.exists():
        parser.error(f"{arguments.environment} exists: remove it, or name another directory")
    if sys.prefix != sys.base_prefix:
        parser.error(f"{sys.executable} is a virtual environment's, whose packages a second one does not see: run the image's own python3")
    problem = install_beside(arguments.environment, arguments.source, arguments.more)
    if problem:
        shutil.rmtree(arguments.environment, ignore_errors=True)
        print(f"install_beside: {problem}", file=sys.stderr)
    return 1 if problem else 0


def install_beside(environment: Path, source: str, more: Sequence[str] = ()) -> str | None:
    """None when all is installed and nothing of the image changed; else what is wrong, with the remedy."""
    image = installed(sys.executable)
    venv.EnvBuilder(system_site_packages=True, symlinks=True).create(environment)
    python = str(environment / "bin" / "python")
    if not pip_install(python, ["--no-deps", source]):
        return f"{source} could not be installed; pip's message is above"
    needs = [line for line in answer(python, NEEDS) if not line.startswith(tuple(TRIED))] + [*TRITONCLIENT_NEEDS, *more]
    if not pip_install(python, needs, [*image_pins(image), *own_pins(image)]):
        print("install_beside: the pins of constraints.txt do not all fit this image; once more with the image's alone", file=sys.stderr)
        if not pip_install(python, needs, image_pins(image)):
            return "pip found no versions that leave the image's packages as they are (its message is above); take a newer image"
    for name, versions in TRIED.items():
        choices = (image[name],) if name in image else versions
        if not any(works(python, name, version) for version in choices):
            return f"no {name} of {', '.join(choices)} works with the image's packages (above); take a newer image"
    if not runs(python, IMPORT_ALL):
        return "trtbench cannot be imported beside the image's packages (above); take a newer image"
    after = installed(python)
    changed = {name: (version, after.get(name)) for name, version in image.items() if after.get(name) != version}
    if changed:
        return "it would change the image's " + ", ".join(f"{name} {old} to {new}" for name, (old, new) in sorted(changed.items()))
    added = sorted(f"{name} {version}" for name, version in after.items() if name not in image)
    print(f"install_beside: {len(image)} packages of the image as they were; added: {', '.join(added)}")
    return None


def works(python: str, name: str, version: str) -> bool:
    return pip_install(python, ["--no-deps", f"{name}=={version}"]) and runs(python, TRIALS[name])


def runs(python: str, code: str) -> bool:
    return subprocess.run([python, "-c", code], cwd="/", check=False).returncode == 0


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
