"""The Dockerfile against the checkout: what it copies, whom it runs as, what it starts. `make check` lints it with hadolint."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pytest

from tests.containers.shown import ROOT, Stage, environment_of, stages, tracked, volumes_of

STAGES = stages()
SHIPPED = [STAGES[name] for name in ("cpu", "encoder", "gpu")]
by_name = pytest.mark.parametrize("stage", SHIPPED, ids=lambda stage: stage.name)


def copied() -> list[tuple[str, str]]:
    """(stage, path in the checkout) of every COPY that reads the context."""
    lines = [(stage.name, line) for stage in STAGES.values() for line in stage.of("COPY") if not line.startswith("--from=")]
    return [(name, source) for name, line in lines for source in line.split()[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets `path` into the build's context; the last line that matches decides, as for Docker."""
    sent = True
    candidates = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.lstrip("!").removeprefix("**/")
        if line.startswith("#") or not line:
            continue
        anywhere = "**/" in line
        if any(
            fnmatchcase(candidate.rsplit("/", 1)[-1] if anywhere else candidate, pattern) for candidate in candidates if candidate != "."
        ):
            sent = line.startswith("!")
    return sent


def test_the_gpu_image_is_the_default_and_each_target_needs_one_base() -> None:
    assert list(STAGES) == [name for target in ("cpu", "encoder", "gpu") for name in (f"{target}-packages", target)]
    assert [stage.base for stage in STAGES.values()] == ["${CPU_BASE}"] * 2 + ["${ENCODER_BASE}"] * 2 + ["${BASE}"] * 2


def test_the_two_gpu_images_differ_in_base_and_tensorrt_alone() -> None:
    pairs = zip(STAGES["encoder-packages"].instructions, STAGES["gpu-packages"].instructions, strict=True)
    differing = [(one[1], other[1]) for one, other in pairs if one != other]
    assert len(differing) == 1
    assert differing[0][0].replace(" --extra tensorrt", "") == differing[0][1]
    encoder = [(keyword, text.replace("encoder-packages", "gpu-packages")) for keyword, text in STAGES["encoder"].instructions]
    assert tuple(encoder) == STAGES["gpu"].instructions


@pytest.mark.process
@pytest.mark.parametrize(("stage", "source"), copied())
def test_what_is_copied_is_in_git_and_reaches_the_builder(stage: str, source: str) -> None:
    files = [path for path in tracked() if path == source or path.startswith(f"{source}/")]
    assert files, f"{stage}: COPY {source}: git has no such path"
    assert all(map(is_sent, files)), f"{stage}: .dockerignore holds back {[path for path in files if not is_sent(path)]}"


@pytest.mark.process
def test_the_builder_gets_nothing_that_no_stage_copies() -> None:
    sources = {source for _, source in copied()}
    needless = [path for path in tracked() if is_sent(path) and not any(path == one or path.startswith(f"{one}/") for one in sources)]
    assert needless == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "scenarios/.env",
        "trtbench/.ruff_cache/x",
        "token",
        "models/llama/model.safetensors",
        "engines/built/x/weights.bin",
        "runs/a/events.jsonl",
        ".git/config",
    ],
)
def test_secrets_weights_and_results_stay_out_of_the_builder(path: str) -> None:
    assert not is_sent(path)


def test_each_package_stage_has_all_that_the_wheel_is_made_of() -> None:
    listed = re.search(r"only-include = \[(.*?)\]", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert listed
    for name in (f"{stage.name}-packages" for stage in SHIPPED):
        assert {source for stage, source in copied() if stage == name} >= set(json.loads(f"[{listed[1]}]")) | {
            "pyproject.toml",
            "README.md",
            "LICENSE",
        }


@by_name
def test_nothing_but_the_environment_comes_out_of_the_package_stage(stage: Stage) -> None:
    assert stage.of("COPY") == [f"--from={stage.name}-packages /opt/trtbench /opt/trtbench"]


@by_name
def test_it_runs_as_nobody_known_and_signals_reach_trtbench(stage: Stage) -> None:
    assert stage.of("USER")[-1] == "10001:10001"  # a number: Kubernetes' runAsNonRoot can judge no name
    entry = "/opt/trtbench/bin/trtbench" + ("" if stage.name == "cpu" else "-gpu")  # gpu_entry.sh, which exec's it
    assert stage.of("ENTRYPOINT") == [f'["{entry}"]']  # the exec form: no shell between
    assert stage.of("RUN")[-1].endswith(f"ln -s {entry} /usr/local/bin/trtbench")
    assert "--uid 10001" in stage.of("RUN")[-1]


@by_name
def test_all_that_is_written_to_is_a_volume_of_the_users(stage: Stage) -> None:
    made = re.search(r"install -d -o bench -g bench ([^&]+)", stage.of("RUN")[-1])
    assert made
    assert set(volumes_of(stage)) == {"/work/runs", "/work/engines/built", "/cache"} <= set(made[1].split())
    environment = environment_of(stage)
    assert all(environment[key].startswith("/cache") for key in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"))
    assert stage.of("WORKDIR")[-1] == "/work"  # where trtbench makes runs/ and engines/built/


@by_name
def test_the_programs_that_shipped_scenarios_ask_for_are_there(stage: Stage) -> None:
    texts = "".join(path.read_text("utf-8") for path in (ROOT / "scenarios").glob("*.yaml"))
    assert set(re.findall(r"\bbalancer: (\w+)", texts)) - {"client"} <= set(stage.of("RUN")[0].split())


def test_no_secret_has_a_place_in_a_layer() -> None:
    declared = [line for stage in STAGES.values() for keyword in ("ARG", "ENV") for line in stage.of(keyword)]
    assert not any(re.search(r"TOKEN|SECRET|PASSWORD|KEY|INDEX_URL", line) for line in declared)
