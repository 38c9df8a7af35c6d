"""docs/containers.md and docs/gpu-quickstart.md: commands that cannot run here parse, the table of images is the facts', figures add up."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest

from tests.containers.shown import ROOT, check_trtbench, shown_in, stages
from tests.containers.test_kubernetes import DOCUMENTS, FETCH, MANIFESTS
from tests.containers.test_slurm import OPTIONS
from trtbench.engine.tensorrt_llm.versions import ENGINE_LINES
from trtbench.scenario.reading import load_scenario
from trtbench.system import packaged_data

PAGES = ("docs/containers.md", "docs/gpu-quickstart.md")
COMMANDS = [(page, words) for page in PAGES for words in shown_in(page)]
IMAGES = {  # TensorRT-LLM, TensorRT, CUDA, driver, size: NVIDIA's matrix, triton-inference-server/server docs/introduction/compatibility.md
    "26.07": ("1.2.1", "10.14.1.48", "13.1.0.036", "590.44.01", "14.20 GB"),
    "26.06": ("1.2.1", "10.14.1.48", "13.1.0.036", "590.44.01", "14.24 GB"),
    "26.05": ("1.2.1", "10.14.1.48", "13.1.0.036", "590.44.01", "14.22 GB"),
    "26.04": ("1.2.1", "10.14.1.48", "13.1.0.036", "590.44.01", "14.22 GB"),
    "26.03": ("1.2.0", "10.14.1.48", "13.1.0.036", "590.44.01", "14.18 GB"),
    "26.02": ("1.1.0", "10.13.3.9", "13.0.2.006", "580.95.05", "16.17 GB"),
    "26.01": ("1.1.0", "10.13.3.9", "13.0.2.006", "580.95.05", "16.17 GB"),
    "25.12": ("1.1.0", "10.13.3.9", "13.0.2.006", "580.95.05", "16.04 GB"),
    "25.11": ("1.0.3.2510", "10.13.3.9", "13.0.2.006", "580.95.05", "12.25 GB"),
    "25.10": ("1.0.0", "10.11.0.33", "12.9.1.010", "575.57.08", "16.21 GB"),
    "25.09": ("1.0.0", "10.11.0.33", "12.9.1.010", "575.57.08", "16.25 GB"),
    "25.08": ("0.21.0", "10.11.0.33", "12.9.0.043", "575.51.03", "20.49 GB"),
    "25.07": ("0.20.0", "10.10.0.31", "12.9.0.036", "575.51.03", "18.3 GB"),
    "25.06": ("0.20.0", "10.10.0.31", "12.9.0.036", "575.51.03", "18.3 GB"),
    "25.05": ("0.19.0", "10.9.0.34", "12.8.1.012", "570.124.06", "17 GB"),
    "25.04": ("0.18.2", "10.9.0.34", "12.8.1.012", "570.124.06", "17 GB"),
    "25.01": ("0.17.0", "10.8.0.43", "12.8.0.038", "570.86.10", "30 GB"),
    "24.12": ("0.16.0", "10.7.0", "12.6.3", "560.35.05", "22 GB"),
    "24.08": ("0.12.0", "10.3.0", "12.5.1.007", "555.42.06", "21 GB"),
}
OURS = {
    "it would change the image's": "scripts/install_beside.py",
    "pip found no versions": "scripts/install_beside.py",
    "works with this image": "scripts/install_beside.py",
    "no NVIDIA driver on this machine (libcuda.so.1 is not found)": "trtbench/engine/tensorrt_llm/provider.py",
    "has no TensorRT engines any more": "trtbench/engine/tensorrt_llm/versions.py",
}
"""What the page quotes of trtbench's own words: where they are said."""


@pytest.mark.process
@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60])
def test_every_command_that_is_shown_would_be_taken(page: str, words: list[str]) -> None:
    program, *arguments = words
    known = {
        "docker": docker,
        "scripts/docker-run.sh": docker_run,
        "sbatch": sbatch,
        "kubectl": kubectl,
        "enroot": enroot,
        "python3": python,
    }
    assert program in known, f"{page}: no rule knows how to check: {shlex.join(words)}"
    known[program](arguments)


def docker(arguments: list[str]) -> None:
    assert (arguments[0], arguments[-1]) == ("build", ".")
    options = dict(zip(arguments[1:-1:2], arguments[2:-1:2], strict=True))
    assert set(options) <= {"--build-arg", "--target", "--tag"}
    assert options.get("--target", "gpu") in stages()
    declared = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert options.get("--build-arg", "BASE=").partition("=")[0] in declared
    assert options["--tag"] == f"trtbench:{options.get('--target', 'gpu')}"


def docker_run(arguments: list[str]) -> None:
    command = [str(ROOT / "scripts" / "docker-run.sh"), *arguments]
    done = subprocess.run(command, env=os.environ | {"DRY_RUN": "1"}, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    if arguments[0] != "fetch":
        check_trtbench([word for word in arguments[1:] if word != "--gpu-control"])


def sbatch(arguments: list[str]) -> None:
    at = arguments.index("scripts/slurm.sbatch")
    for option in arguments[:at]:
        name, _, value = option.removeprefix("--").partition("=")
        assert re.fullmatch(OPTIONS[name], value)
    check_trtbench(arguments[at + 1 :])


def kubectl(arguments: list[str]) -> None:
    verb = arguments[0]
    if verb == "apply":
        assert arguments[1] == "-f"
        assert arguments[2] in MANIFESTS
    elif verb == "create":
        name, source = arguments[3], arguments[4].removeprefix("--from-file=")
        mounted = [volume["secret"]["secretName"] for volume in FETCH["spec"]["template"]["spec"]["volumes"] if "secret" in volume]
        assert (arguments[1:3], mounted, source) == (["secret", "generic"], [name], "token=token")
    else:
        assert verb in ("logs", "wait")
        kind, name = arguments[-1].split("/")
        assert (kind.capitalize(), name) in {(document["kind"], document["metadata"]["name"]) for document in DOCUMENTS}


def enroot(arguments: list[str]) -> None:
    assert arguments == ["import", "--output", "trtbench.sqsh", "dockerd://trtbench:gpu"]
    assert f"enroot {shlex.join(arguments)}" in (ROOT / "scripts" / "slurm.sbatch").read_text("utf-8")


def python(arguments: list[str]) -> None:
    assert (ROOT / arguments[0]).is_file()


def test_the_commands_in_the_scripts_heads_are_trtbenchs() -> None:
    heads = "".join((ROOT / "scripts" / name).read_text("utf-8") for name in ("docker-run.sh", "slurm.sbatch"))
    shown = [found.split() for found in re.findall(r"(?:cpu|slurm\.sbatch) (serve-and-bench \w+(?: --set \S+)*)", heads)]
    assert len(shown) == 2
    for words in shown:
        check_trtbench(words)


def test_the_table_of_images_is_the_facts() -> None:
    text = (ROOT / "docs" / "containers.md").read_text("utf-8")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| \d\d\.\d\d.*\|$", text, re.MULTILINE)]
    for image, trtllm, *rest, engines, llmapi in rows:
        line = tuple(map(int, trtllm.split(".")[:2]))
        assert (trtllm, *rest) == IMAGES[image]
        assert engines == ("yes" if line in ENGINE_LINES else "`bench` only" if (0, 19) <= line < (1, 0) else "-")
        assert llmapi == ("yes" if line >= (1, 0) else "no")
    assert [row[0] for row in rows] == list(IMAGES)


def test_the_images_that_are_built_on_by_default_are_the_documents() -> None:
    """The last image with engines, and the newest that encoders were checked for."""
    dockerfile, start = ((ROOT / name).read_text("utf-8") for name in ("Dockerfile", "docs/gpu-quickstart.md"))
    for argument, tag in (("BASE", f"{max(IMAGES)}-trtllm-python-py3"), ("ENCODER_BASE", "26.10-py3")):
        assert f"ARG {argument}=tritonserver:{tag}\n" in dockerfile
        assert f"nvidia/tritonserver:{tag}" in start


def test_the_quick_start_is_four_commands_and_the_encoders_too() -> None:
    shown = shown_in("docs/gpu-quickstart.md")
    assert len(shown) == 4 + 4
    assert [words[0] for words in shown[:4]] == [words[0] for words in shown[4:]]


def test_every_setting_that_a_remedy_names_is_one() -> None:
    page = (ROOT / "docs" / "gpu-quickstart.md").read_text("utf-8")
    settings = re.findall(r"`--set ([\w.]+=[^\s`]+)`", page)
    assert len(settings) > 4
    for setting in settings:
        load_scenario(packaged_data.SCENARIOS / "load.yaml", [setting])


@pytest.mark.parametrize(("words", "place"), OURS.items())
def test_what_is_quoted_of_trtbench_is_what_it_says(words: str, place: str) -> None:
    assert words in (ROOT / "docs" / "gpu-quickstart.md").read_text("utf-8")
    assert words in (ROOT / place).read_text("utf-8")


def test_the_estimates_are_what_their_formulas_give() -> None:
    """Llama-3.1-8B: 8.03e9 parameters, of which embedding and head have 128,256 x 4,096 each."""
    page = (ROOT / "docs" / "gpu-quickstart.md").read_text("utf-8")
    parameters, embedding, gib = 8.03e9, 128_256 * 4_096, 2**30
    fp16, int8 = 2 * parameters, parameters + 2 * embedding
    assert f"| {fp16 / 1e9:.1f} GB | {parameters / 1e9:.1f} to {int8 / 1e9:.1f} GB |" in page
    token = 2 * 32 * 8 * 128 * 2
    assert f"| {token // 1024} KiB | {token // 1024} KiB |" in page
    assert f"| {64 * 320 * token / gib:.1f} GiB | {64 * 320 * token / gib:.1f} GiB |" in page
    assert f"| {1.1 * fp16 / gib + 2:.1f} GiB | {1.1 * parameters / gib + 2:.1f} GiB |" in page
    assert f"| {2.6 * fp16 / gib + 8:.1f} GiB | {2.6 * parameters / gib + 8:.1f} GiB |" in page
    assert f"| {(fp16 + fp16 + int8 + fp16) / 1e9:.0f} GB |" in page
    assert f"| {fp16 * 8 / 1e9 / 60:.1f} min at 1 Gbit/s |" in page
    image_gb = IMAGES[max(IMAGES)][-1].removesuffix(" GB")
    assert f"| 1, image | {float(image_gb) * 8 / 60:.1f} min at 1 Gbit/s" in page
    assert f"| {image_gb} GB ([NVIDIA's matrix]" in page
    assert f"over {2 * fp16 / 1e9 / 60:.1f} and {(fp16 + int8) / 1e9 / 60:.1f} min at 1 GB/s" in page
    for name, bytes_per_s in (("H100 SXM, 3.35", 3.35e12), ("A100 80 GB SXM, 2.04", 2.04e12), ("L40S, 0.864", 0.864e12)):
        assert f"| {name} TB/s | {fp16 / bytes_per_s * 1e3:.1f} ms | {int8 / bytes_per_s * 1e3:.1f} ms |" in page
