"""install_beside.py where the image's python3 is a virtual environment (NVIDIA's since 26.03), and TensorRT's Python in a -py3 image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.made_image import SCRIPT, Image, write_wheel

pytestmark = pytest.mark.process

VERSION, CUDA = "11.1.0.106", {"TRT_VERSION": "11.1.0.106", "CUDA_VERSION": "13.4.1.012"}
MAPPED = """
import mmap, pathlib
opened = open(pathlib.Path(__file__).parent / {library!r})
kept = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
"""
"""In a stand-in of TensorRT's Python: it maps the library, as the real bindings do by loading it."""


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path, nested=True)


def test_the_packages_of_a_virtual_environment_are_used_and_left_as_they_are(image: Image, tmp_path: Path) -> None:
    """Whatever the image sets for its own pip: PIP_CONSTRAINT would hold back what it lacks, and what a build of the checkout needs."""
    constraint = tmp_path / "constraint.txt"
    constraint.write_text("helperlike==1.0\n", encoding="utf-8")
    image.add(write_wheel(tmp_path, "tensorrt", "10.14.1.48"))  # as an image with TensorRT-LLM has, so none is added
    write_wheel(image.index, "numpylike", "2.2.0")
    write_wheel(image.index, "helperlike", "3.0", "numpylike>=2")
    write_wheel(image.index, "helperlike", "2.0", "numpylike>=1")
    before = image.files()
    source = write_wheel(image.index, "trtbench", "1.0", "numpylike>=1.20", "torchlike", "helperlike")
    done = image.install(source, "--extra", "tensorrt", PIP_CONSTRAINT=str(constraint), PIP_USER="1", PIP_TARGET=str(tmp_path / "other"))
    assert done.returncode == 0, done.stderr
    assert not any(name in done.stdout.partition("added:")[2] for name in ("numpylike", "tensorrt"))
    assert [image.version_of(name) for name in ("numpylike", "torchlike", "helperlike")] == ["1.26.4", "2.9.0a0+nv25.10", "2.0"]
    assert image.run("import numpylike; print(numpylike.__file__)").startswith(str(image.packages))
    assert image.files() == before
    # A child that is started with our sys.executable is ours, of the Python below; the image's venv here sees no other site.
    assert image.run("import sys; print(sys.prefix, sys.base_prefix)").split() == [str(image.environment), sys.base_prefix]
    assert "include-system-site-packages = false" in (image.environment / "pyvenv.cfg").read_text("utf-8")


def test_a_change_of_the_venvs_packages_is_refused_and_nothing_stays(image: Image) -> None:
    write_wheel(image.index, "numpylike", "2.2.0")
    before = image.files()
    done = image.install(write_wheel(image.index, "trtbench", "1.0", "numpylike>=2"))
    assert done.returncode == 1
    assert "leave the image's packages as they are" in done.stderr
    assert not image.environment.exists()
    assert image.files() == before


def test_an_image_without_pip_gets_ensurepips(image: Image) -> None:
    (image.packages / "pip").unlink()
    done = image.install(image.index / "nothing-1.0-py3-none-any.whl")
    assert done.returncode == 1
    assert "looks like a filename, but the file does not exist" in done.stderr  # so a pip ran
    assert "could not be installed; pip's message is above" in done.stderr


def tensorrt(image: Image, version: str, library: Path | None) -> None:
    """Wheels of tensorrt-cu13 by their real names, on the image's library, or on that of the third wheel."""
    loaded = MAPPED.format(library=str(library)) if library else "import tensorrt_libs"
    needs = [f"tensorrt_cu13_{part}=={version}" for part in ("libs", "bindings")]
    package = f"from tensorrt_bindings import Builder, OnnxParser\n__version__ = {version!r}"
    write_wheel(image.index, "tensorrt_cu13", version, *needs, files={"tensorrt/__init__.py": package})
    bindings = f"{loaded}\nclass Builder: ...\nclass OnnxParser: ..."
    write_wheel(image.index, "tensorrt_cu13_bindings", version, files={"tensorrt_bindings/__init__.py": bindings})
    libraries = {f"tensorrt_libs/{name}.so.11": "x" for name in ("libnvinfer", "libnvinfer_builder_resource")}
    libraries["tensorrt_libs/__init__.py"] = MAPPED.format(library="libnvinfer.so.11")
    write_wheel(image.index, "tensorrt_cu13_libs", version, files=libraries)


def test_tensorrts_bindings_in_the_images_version_run_on_its_own_libraries(image: Image, tmp_path: Path) -> None:
    library = tmp_path / "libnvinfer.so.11"
    for path in (library, tmp_path / "libnvinfer_builder_resource.so.11"):
        path.write_text("x", encoding="utf-8")
    tensorrt(image, VERSION, library)
    tensorrt(image, "11.4.0.106", library)  # the newest, which pip would take
    write_wheel(image.index, "onnx", "1.23.2")
    source = write_wheel(image.index, "trtbench", "1.0", 'onnx>=1.17; extra == "tensorrt"', 'tensorrt>=10; extra == "tensorrt"')
    done = image.install(source, "--extra", "tensorrt", **CUDA)
    assert done.returncode == 0, done.stderr
    added = done.stdout.partition("added:")[2]
    assert all(found in added for found in ("onnx 1.23.2", f"tensorrt-cu13 {VERSION}", f"tensorrt-cu13-bindings {VERSION}"))
    assert "tensorrt-cu13-libs" not in added


def test_libraries_of_their_own_come_where_the_image_cannot_build(image: Image, tmp_path: Path) -> None:
    tensorrt(image, VERSION, None)
    done = image.install(write_wheel(image.index, "trtbench", "1.0"), "--extra", "tensorrt", **CUDA)
    assert done.returncode == 0, done.stderr
    assert f"tensorrt-cu13-libs {VERSION}" in done.stdout


@pytest.mark.parametrize("variables", [{}, {"TRT_VERSION": "11.1.0.106"}, {"TRT_VERSION": "11.1", "CUDA_VERSION": "13.4"}])
def test_a_tensorrt_that_is_unknown_is_said_at_once(image: Image, variables: dict[str, str]) -> None:
    done = image.install(image.index, "--extra", "tensorrt", **variables)
    assert done.returncode == 1
    assert "TRT_VERSION and CUDA_VERSION do not say" in done.stderr
    assert not image.environment.exists()


def test_a_tensorrt_that_is_not_to_be_had_is_said(image: Image) -> None:
    tensorrt(image, VERSION, None)
    done = image.install(write_wheel(image.index, "trtbench", "1.0"), "--extra", "tensorrt", **CUDA | {"TRT_VERSION": "11.5.0.1"})
    assert done.returncode == 1
    assert "no tensorrt-cu13 11.5.0.1 works" in done.stderr
    assert not image.environment.exists()


def test_an_image_that_does_not_name_its_tensorrt_is_asked_by_its_libraries(tmp_path: Path) -> None:
    """Compiled stand-ins of libnvinfer and CUDA's version.json; read in a process of its own, as the loader looks at its start."""
    parts = zip(("Major", "Minor", "Patch", "Build"), (11, 5, 0, 7), strict=True)
    source = "".join(f"int getInferLib{part}Version(void) {{ return {number}; }}\n" for part, number in parts)
    command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(tmp_path / "libnvinfer.so.11")]
    subprocess.run(command, input=source, text=True, check=True, timeout=60)
    (tmp_path / "version.json").write_text('{"cuda": {"name": "CUDA SDK", "version": "13.4.3"}}')
    code = f"import pathlib, install_beside as i; i.CUDA = pathlib.Path({str(tmp_path)!r}); print(*i.tensorrt_version())"
    environ = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(SCRIPT.parent)}

    def ask(**variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ | variables, stdout=subprocess.PIPE, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    assert ask() == "11.5.0.7 13"
    assert ask(TRT_VERSION="11.1.0.106+cuda13.4", CUDA_VERSION="12.9.1") == "11.1.0.106 12"
    assert ask(LD_LIBRARY_PATH="") == ""
