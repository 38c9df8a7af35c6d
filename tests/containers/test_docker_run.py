"""scripts/docker-run.sh: the command line that it makes; where Docker's client is installed, its parser takes every option."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.containers.shown import ROOT, stages, volumes_of

SCRIPT = ROOT / "scripts" / "docker-run.sh"
TOKEN = "hf_made_up_secret"


def run(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("IMAGE", "DATA", "MODELS", "GPUS", "CPUS", "SHM_SIZE")}
    return subprocess.run([SCRIPT, *arguments], cwd=cwd, env=clean | variables, capture_output=True, text=True, timeout=20, check=False)


def line(cwd: Path, *arguments: str, **variables: str) -> list[str]:
    done = run(cwd, *arguments, DRY_RUN="1", **variables)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout.replace("$'", "'").replace("\\n", " "))


def option(words: list[str], name: str) -> list[str]:
    return [value for word, value in pairwise(words) if word == name]


@pytest.mark.process
def test_it_runs_as_the_caller_without_rights_and_with_a_process_that_reaps(tmp_path: Path) -> None:
    words = line(tmp_path, "gpu", "doctor")
    assert {"--rm", "--init", "--read-only"} <= set(words)
    assert option(words, "--cap-drop") == ["ALL"]
    assert option(words, "--security-opt") == ["no-new-privileges"]
    assert "--cap-add" not in words
    user = "10001:10001" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    assert option(words, "--user") == [user]
    assert option(words, "--shm-size") == ["2g"]
    assert option(words, "--ulimit") == ["stack=67108864", "memlock=-1"]
    assert words[-2:] == ["trtbench:gpu", "doctor"]


@pytest.mark.process
def test_every_volume_of_the_image_and_tmp_is_a_directory_of_the_callers(tmp_path: Path) -> None:
    mounts = dict(mount.split(":", 2)[1::-1] for mount in option(line(tmp_path, "cpu", "doctor"), "--volume"))
    assert set(mounts) == {*volumes_of(stages()["cpu"]), "/tmp", "/models"}
    assert all(Path(place).is_relative_to(tmp_path / "trtbench-data") for place in mounts.values())


@pytest.mark.process
def test_the_cpu_image_asks_for_no_gpu(tmp_path: Path) -> None:
    assert "--gpus" not in line(tmp_path, "cpu", "doctor")
    assert option(line(tmp_path, "gpu", "doctor", GPUS='"device=0,1"'), "--gpus") == ['"device=0,1"']


@pytest.mark.process
def test_the_encoder_image_gets_gpus_as_the_other_does(tmp_path: Path) -> None:
    words, other = line(tmp_path, "encoder", "doctor"), line(tmp_path, "gpu", "doctor")
    assert [word.replace("trtbench:encoder", "trtbench:gpu") for word in words] == other
    assert words[-2:] == ["trtbench:encoder", "doctor"]


ROOTLESS = {"docker": "[name=seccomp,profile=builtin name=rootless name=cgroupns]", "podman": "rootless=true"}


def daemon(directory: Path, kind: str) -> dict[str, str]:
    """A docker whose daemon runs as the caller; Podman's knows no SecurityOptions."""
    fails = "*SecurityOptions*) exit 125 ;;" if kind == "podman" else ""
    (directory / "bin").mkdir()
    (directory / "bin" / "docker").write_text(f'#!/bin/sh\ncase "$*" in {fails} info*) echo "{ROOTLESS[kind]}" ;; esac\n', encoding="utf-8")
    (directory / "bin" / "docker").chmod(0o755)
    return {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "DRY_RUN": "1"}


@pytest.mark.process
@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_under_a_rootless_daemon_the_caller_is_the_containers_root(tmp_path: Path, kind: str) -> None:
    """Any other user of the container is a stranger to the caller's directories; and no limit can be raised over the caller's."""
    variables = daemon(tmp_path, kind)
    done = subprocess.run(["bash", "-c", f"ulimit -l 64; {SCRIPT} gpu doctor"], env=os.environ | variables, capture_output=True, text=True)
    words = shlex.split(done.stdout)
    assert option(words, "--user") == ["0:0"]
    assert option(words, "--cap-drop") == ["ALL"]
    assert option(words, "--ulimit") == ["stack=67108864"]
    refused = run(tmp_path, "gpu", "--gpu-control", "doctor", **variables)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "root on the node" in refused.stderr


@pytest.mark.process
def test_control_of_gpus_is_root_with_two_capabilities(tmp_path: Path) -> None:
    words = line(tmp_path, "gpu", "--gpu-control", "doctor")
    assert option(words, "--user") == ["0:0"]
    assert option(words, "--cap-add") == ["SYS_ADMIN", "DAC_OVERRIDE"]
    assert "--gpu-control" not in words


@pytest.mark.process
def test_a_token_goes_in_as_a_file_and_only_to_fetch(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN, encoding="utf-8")
    words = line(tmp_path, "fetch", "meta-llama/Llama-3.1-8B-Instruct", HF_TOKEN_FILE=str(token), HF_TOKEN=TOKEN)
    assert option(words, "--mount") == [f"type=bind,source={token},target=/run/secrets/hf_token,readonly"]
    assert option(words, "--env") == ["HF_TOKEN_PATH=/run/secrets/hf_token"]
    assert TOKEN not in " ".join(words)
    assert words[-1] == "/models/Llama-3.1-8B-Instruct"
    assert "hf_token" not in " ".join(line(tmp_path, "gpu", "doctor", HF_TOKEN_FILE=str(token)))


@pytest.mark.process
@pytest.mark.parametrize("name", ["llama", "a/..", "a/b/c", "a/b;rm", "https://x/y", ""])
def test_fetch_takes_names_of_the_hub_alone(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, "fetch", name, DRY_RUN="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "OWNER/MODEL" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize("arguments", [[], ["gpus"], ["fetch"]])
def test_anything_else_is_refused_with_the_usage(tmp_path: Path, arguments: list[str]) -> None:
    assert run(tmp_path, *arguments, DRY_RUN="1").returncode == 2


@pytest.mark.process
def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    line(tmp_path, "gpu", "doctor")
    line(tmp_path, "fetch", "a/b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_colon_would_end_a_mount(tmp_path: Path) -> None:
    assert "no colon" in run(tmp_path, "gpu", "doctor", DATA="a:b", DRY_RUN="1").stderr


@pytest.mark.process
@pytest.mark.skipif(shutil.which("docker") is None, reason="Docker's client is not installed")
@pytest.mark.parametrize("arguments", [["gpu", "doctor"], ["gpu", "--gpu-control", "doctor"], ["cpu", "doctor"], ["fetch", "a/b"]])
def test_dockers_own_parser_takes_the_line(tmp_path: Path, arguments: list[str]) -> None:
    """It is given a daemon that is not there: the client parses first, then asks."""
    token = tmp_path / "token"
    token.touch()
    nobody = f"unix://{tmp_path}/no-daemon"
    done = run(tmp_path, *arguments, DOCKER_HOST=nobody, HF_TOKEN_FILE=str(token), CPUS="0-1", DOCKER_CONFIG=str(tmp_path))
    assert "ocker daemon" in done.stderr, done.stderr
    unknown = run(tmp_path, *arguments, DOCKER_HOST=nobody, SHM_SIZE="much", DOCKER_CONFIG=str(tmp_path))
    assert "invalid" in unknown.stderr  # so a bad option would have been seen
