"""install_beside.py on a made-up image of three packages, from wheels made here: no network, no container."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.containers.made_image import SCRIPT, Image, write_wheel
from tests.containers.shown import ROOT

CARELESS_PIP = """
import pathlib, sysconfig
for name, version in (("trtbench", "1.0"), ("numpylike", "2.2.0")):
    info = pathlib.Path(sysconfig.get_path("purelib"), f"{name}-{version}.dist-info")
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
for package, module in (("trtbench", "__init__"), ("pyarrow", "parquet")):
    pathlib.Path(sysconfig.get_path("purelib"), package).mkdir(exist_ok=True)
    pathlib.Path(sysconfig.get_path("purelib"), package, f"{module}.py").touch()
client = pathlib.Path(sysconfig.get_path("purelib"), "tritonclient", "grpc")
client.mkdir(parents=True, exist_ok=True)
for module in ("model_config_pb2", "service_pb2", "service_pb2_grpc"):
    (client / f"{module}.py").touch()
"""


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


@pytest.mark.process
def test_what_the_image_has_is_used_and_what_it_lacks_is_chosen_to_fit(image: Image) -> None:
    """Also a pin of ours, the tritonclient whose messages the image can load, and a pyarrow for the image's numpy."""
    write_wheel(image.index, "numpylike", "2.2.0")
    write_wheel(image.index, "helperlike", "3.0", "numpylike>=2")
    write_wheel(image.index, "helperlike", "2.0", "numpylike>=1")
    write_wheel(image.index, "tabulate", "0.10.0")  # as constraints.txt has it
    write_wheel(image.index, "tabulate", "0.99.0")
    write_wheel(image.index, "tritonclient", "2.73.0", messages="raise RuntimeError('generated for a later protobuf')")
    write_wheel(image.index, "tritonclient", "2.71.0", "numpylike<1")  # what it asks is not what its messages need
    write_wheel(image.index, "pyarrow", "26.0.1", code="raise ImportError('pyarrow requires NumPy 2.0 or newer')")
    write_wheel(image.index, "pyarrow", "19.0.1")
    needs = ("numpylike>=1.20", "torchlike", "helperlike", "tabulate", "tritonclient[grpc]>=2.50", "pyarrow>=15")
    done = image.install(write_wheel(image.index, "trtbench", "1.0", *needs))
    assert done.returncode == 0, done.stderr
    added = done.stdout.partition("added:")[2]
    assert all(one in added for one in ("helperlike 2.0", "tabulate 0.10.0", "tritonclient 2.71.0", "pyarrow 19.0.1"))
    packages = {"numpylike": "1.26.4", "torchlike": "2.9.0a0+nv25.10", "helperlike": "2.0", "tritonclient": "2.71.0", "pyarrow": "19.0.1"}
    assert {name: image.version_of(name) for name in packages} == packages


@pytest.mark.process
def test_pins_of_ours_that_do_not_fit_the_image_give_way_and_its_own_tritonclient_is_used(image: Image, tmp_path: Path) -> None:
    image.add(write_wheel(tmp_path, "tritonclient", "2.60.0"))
    write_wheel(image.index, "tabulate", "0.10.0", "numpylike>=2")
    write_wheel(image.index, "tabulate", "0.9.0")
    done = image.install(write_wheel(image.index, "trtbench", "1.0", "tabulate", "tritonclient[grpc]>=2.50"))
    assert done.returncode == 0, done.stderr
    assert "tabulate 0.9.0" in done.stdout
    assert "do not all fit this image" in done.stderr
    assert image.version_of("tritonclient") == "2.60.0"


@pytest.mark.process
def test_what_cannot_be_had_without_a_change_is_refused_and_nothing_stays(image: Image) -> None:
    write_wheel(image.index, "numpylike", "2.2.0")
    done = image.install(write_wheel(image.index, "trtbench", "1.0", "numpylike>=2"))
    assert done.returncode == 1
    assert "leave the image's packages as they are" in done.stderr
    assert not image.environment.exists()


@pytest.mark.parametrize("name", ["tritonclient", "pyarrow"])
def test_what_is_tried_first_is_the_pinned_one(name: str) -> None:
    pinned = re.findall(rf"^{name}==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned
    assert f'"{name}": ("{max(pinned)}", ' in SCRIPT.read_text("utf-8")


@pytest.mark.process
def test_a_trtbench_that_cannot_be_imported_there_is_said(image: Image) -> None:
    done = image.install(write_wheel(image.index, "trtbench", "1.0", code="import nowhere"))
    assert done.returncode == 1
    assert "No module named 'nowhere'" in done.stderr
    assert "cannot be imported beside" in done.stderr
    assert not image.environment.exists()


@pytest.mark.process
def test_no_tritonclient_that_works_is_said(image: Image) -> None:
    write_wheel(image.index, "tritonclient", "2.73.0", messages="raise RuntimeError('generated for a later protobuf')")
    done = image.install(write_wheel(image.index, "trtbench", "1.0", "tritonclient[grpc]>=2.50"))
    assert done.returncode == 1
    assert "generated for a later protobuf" in done.stderr
    assert "works with the image's packages" in done.stderr
    assert not image.environment.exists()


@pytest.mark.process
def test_a_version_that_pip_refuses_to_weigh_ends_it_too(image: Image) -> None:
    write_wheel(image.index, "distrolike", "1.0")
    done = image.install(write_wheel(image.index, "trtbench", "1.0", "distrolike>=1"))
    assert done.returncode == 1
    assert not image.environment.exists()


@pytest.mark.process
def test_a_change_that_pip_made_all_the_same_is_found(image: Image) -> None:
    (image.packages / "pip").unlink()
    (image.packages / "pip").mkdir()
    (image.packages / "pip" / "__init__.py").touch()
    (image.packages / "pip" / "__main__.py").write_text(CARELESS_PIP, encoding="utf-8")
    done = image.install(image.index)
    assert done.returncode == 1
    assert "it would change the image's numpylike 1.26.4 to 2.2.0" in done.stderr
    assert not image.environment.exists()


@pytest.mark.process
def test_an_environment_that_is_there_is_left_alone(image: Image) -> None:
    image.environment.mkdir()
    assert image.install(image.index).returncode == 2
    assert list(image.environment.iterdir()) == []
