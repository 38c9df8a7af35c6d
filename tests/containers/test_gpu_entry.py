"""scripts/gpu_entry.sh on stand-ins: a driver's version file, the image's CUDA library, and the answer of CUDA's cuInit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.shown import ROOT
from tests.support.fakes.fake_gpu import FakeGpus, compile_fakes

pytestmark = pytest.mark.process

VERSIONS = {  # as the kernel modules of both kinds write them
    "535.129.03": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version:  gcc 12.2.0\n",
    "580.95.05": "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build  (dvs)\n",
    "590.48.01": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.48.01  Mon Dec  8 13:00:00 UTC 2025\n",
}
PYTHON = """#!/bin/sh
case $LD_LIBRARY_PATH in {compat}*) [ {error} = 0 ] || {{ echo "CUDA error {error}" >&2; exit 1; }} ;; *) exit 9 ;; esac
"""
TRTBENCH = '#!/bin/sh\necho "$LD_LIBRARY_PATH" "$@"\n'


class Container:
    def __init__(self, directory: Path) -> None:
        self.bin, self.compat, self.version = directory / "bin", directory / "compat", directory / "version"
        self.bin.mkdir()
        shutil.copy(ROOT / "scripts" / "gpu_entry.sh", self.bin / "trtbench-gpu")
        self.program("trtbench", TRTBENCH)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text, encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def library(self, version: str, place: str = "lib.real", error: int = 0) -> None:
        (self.compat / place).mkdir(parents=True)
        (self.compat / place / f"libcuda.so.{version}").touch()
        (self.compat / place / "libcuda.so.1").symlink_to(f"libcuda.so.{version}")
        self.program("python", PYTHON.format(compat=self.compat, error=error))

    def environment(self, path: str) -> dict[str, str]:
        search = {"LD_LIBRARY_PATH": path} if path else {}
        return {"PATH": os.environ["PATH"], "NVIDIA_VERSION_FILE": str(self.version), "CUDA_COMPAT": str(self.compat)} | search

    def start(self, *arguments: str, path: str = "/trt/lib") -> tuple[str, str]:
        command = [str(self.bin / "trtbench-gpu"), *arguments]
        done = subprocess.run(command, env=self.environment(path), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.mark.parametrize("driver", ["535.129.03", "580.95.05"])
def test_the_images_library_is_used_where_the_nodes_is_older(container: Container, driver: str) -> None:
    container.version.write_text(VERSIONS[driver], encoding="utf-8")
    container.library("590.44.01")
    out, err = container.start("doctor", "a b")
    assert out == f"{container.compat}/lib.real:/trt/lib doctor a b"
    assert f"the node's driver is {driver}; using the image's CUDA driver library 590.44.01" in err
    assert container.start("x", path="")[0] == f"{container.compat}/lib.real x"


def test_an_image_without_nvidias_folder_of_its_own(container: Container) -> None:
    container.version.write_text(VERSIONS["535.129.03"], encoding="utf-8")
    container.library("575.57.08", place=".")
    assert container.start()[0] == f"{container.compat}/.:/trt/lib"


@pytest.mark.parametrize("image", ["590.44.01", "590.48.01", "575.57.08"])
def test_a_node_as_new_keeps_its_own(container: Container, image: str) -> None:
    container.version.write_text(VERSIONS["590.48.01"], encoding="utf-8")
    container.library(image)
    assert container.start() == ("/trt/lib", "")


def test_where_the_gpu_does_not_allow_it_the_drivers_own_is_used_and_the_reason_said(container: Container) -> None:
    """804: forward compatibility was attempted on hardware that does not support it, as on GeForce."""
    container.version.write_text(VERSIONS["535.129.03"], encoding="utf-8")
    container.library("590.44.01", error=804)
    out, err = container.start()
    assert out == "/trt/lib"
    assert "does not start here (CUDA error 804)" in err
    assert "a newer driver or an older image" in err


def test_cuda_itself_is_asked(container: Container, tmp_path: Path) -> None:
    """By the stand-in of libcuda that the tests of GPU control compile, through the image's Python."""
    fakes = FakeGpus(compile_fakes(tmp_path), tmp_path)
    container.version.write_text(VERSIONS["535.129.03"], encoding="utf-8")
    container.library("590.44.01")
    shutil.copy(tmp_path / "libcuda.so.1", container.compat / "lib.real" / "libcuda.so.590.44.01")
    container.program("python", f'#!/bin/sh\nexport FAKE_NVML_STATE={fakes.environment["FAKE_NVML_STATE"]}\nexec {sys.executable} "$@"\n')
    assert container.start()[0] == f"{container.compat}/lib.real:/trt/lib"
    (container.compat / "lib.real" / "libcuda.so.1").unlink()
    assert "libcuda.so.1: cannot open shared object file" in container.start()[1]


@pytest.mark.parametrize("without", ["driver", "library", "number"])
def test_without_a_driver_or_a_library_nothing_is_said(container: Container, without: str) -> None:
    if without != "driver":
        container.version.write_text("NVRM version: unknown\n" if without == "number" else VERSIONS["535.129.03"], encoding="utf-8")
    if without != "library":
        container.library("590.44.01")
    assert container.start("doctor") == ("/trt/lib doctor", "")


def test_trtbench_takes_the_place_of_the_script_so_that_signals_reach_it(container: Container) -> None:
    container.program("trtbench", "#!/bin/sh\necho $$\nexec sleep 60\n")
    process = subprocess.Popen([container.bin / "trtbench-gpu"], env=container.environment(""), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        assert int(process.stdout.readline()) == process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM
        process.stdout.close()


def test_a_link_to_it_finds_the_environment(container: Container, tmp_path: Path) -> None:
    """As /usr/local/bin/trtbench is one in the image."""
    (tmp_path / "linked").symlink_to(container.bin / "trtbench-gpu")
    done = subprocess.run([tmp_path / "linked", "doctor"], env=container.environment(""), capture_output=True, text=True, check=False)
    assert done.stdout == " doctor\n"
