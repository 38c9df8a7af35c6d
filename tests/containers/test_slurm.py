"""scripts/slurm.sbatch: its options against sbatch's, and what it starts, with an srun of ours that notes or runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.shown import ROOT, stages, volumes_of

pytestmark = pytest.mark.process

SCRIPT = ROOT / "scripts" / "slurm.sbatch"
OPTIONS = {
    "job-name": r"[\w-]+",
    "nodes": r"\d+",
    "ntasks": r"\d+",
    "gpus-per-node": r"(\w+:)?\d+",
    "cpus-per-task": r"\d+",
    "mem": r"\d+[KMGT]?",
    "exclusive": r"",
    "time": r"(\d+-)?\d\d:\d\d:\d\d",
    "signal": r"([RB]+:)?(TERM|INT|USR1)@\d+",
    "no-requeue": r"",
    "output": r"[\w%./-]+",
}
"""sbatch's long options, as its manual has them, with the form of their values."""
SRUN = """#!{python}
import json, os, pathlib, subprocess, sys
arguments = sys.argv[1:]
pathlib.Path({noted!r}).write_text(json.dumps(arguments))
started = [word.replace("/opt/trtbench/bin/trtbench-gpu", {trtbench!r}) for word in arguments[arguments.index("bash"):]]
sys.exit(subprocess.run(started).returncode)
"""
TRTBENCH = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ)]))
"""


def directives() -> dict[str, str]:
    lines = SCRIPT.read_text("utf-8").splitlines()
    first = next(at for at, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:]), "sbatch reads no option after the first command"
    found = [re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(.*))?", line) for line in lines[:first] if line.startswith("#SBATCH")]
    return {option[1]: option[2] or "" for option in found if option}


def test_every_option_is_one_of_sbatch_with_a_value_it_takes() -> None:
    assert len(directives()) == SCRIPT.read_text("utf-8").count("\n#SBATCH")
    for name, value in directives().items():
        assert name in OPTIONS, f"#SBATCH --{name} is none of sbatch's options known here"
        assert re.fullmatch(OPTIONS[name], value), f"#SBATCH --{name}={value}"


def test_one_node_alone_and_never_again_in_silence() -> None:
    assert {"nodes": "1", "ntasks": "1", "exclusive": "", "no-requeue": ""}.items() <= directives().items()


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.directory, self.noted = directory, directory / "srun.json"
        (directory / "bin").mkdir()
        (directory / "trtbench.sqsh").touch()
        trtbench = directory / "bin" / "trtbench"
        fakes = {
            trtbench: TRTBENCH.format(python=sys.executable),
            directory / "bin" / "srun": SRUN.format(python=sys.executable, noted=str(self.noted), trtbench=str(trtbench)),
        }
        for path, text in fakes.items():
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)

    def submit(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        paths = {"PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}"}
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.run(command, cwd=self.directory, env=paths | variables, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_trtbench_gets_the_arguments_and_nothing_of_slurms_or_pmis(cluster: Cluster) -> None:
    slurms = {"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1", "PMIX_RANK": "0", "PMI_RANK": "0", "PMI2_SIZE": "1"}
    done = cluster.submit("serve-and-bench", "load", "--set", "name=a b", **slurms, CUDA_VISIBLE_DEVICES="0", OMPI_MCA_x="1")
    assert done.returncode == 0, done.stderr
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["serve-and-bench", "load", "--set", "name=a b"]
    assert not [name for name in environment if name.startswith(("SLURM", "PMI"))]
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["OMPI_MCA_x"], environment["HOME"]) == ("0", "1", "/cache")


def test_the_gpus_of_the_job_are_the_engines_ranks_unless_asked_otherwise(cluster: Cluster) -> None:
    done = cluster.submit("serve-and-bench", "load", "--set", "build.tp=2", SLURM_GPUS_ON_NODE="4")
    assert json.loads(done.stdout)[0] == ["serve-and-bench", "load", "--set", "build.tp=4", "--set", "build.tp=2"]
    assert json.loads(cluster.submit("doctor", SLURM_GPUS_ON_NODE="4").stdout)[0] == ["doctor"]
    for encoder in (["encoder"], ["load", "--set", "provider=tensorrt"], ["encoder", "--set", "provider=tensorrt", "--lang", "zh"]):
        asked = ["serve-and-bench", *encoder]
        assert json.loads(cluster.submit(*asked, SLURM_GPUS_ON_NODE="4").stdout)[0] == asked
    assert json.loads(cluster.submit(SLURM_GPUS_ON_NODE="4").stdout)[0] == ["doctor"]


def test_pyxis_mounts_every_volume_of_the_image(cluster: Cluster) -> None:
    cluster.submit("doctor", MODELS="/checkpoints")
    words = json.loads(cluster.noted.read_text("utf-8"))
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words[: words.index("bash")])
    mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in options["container-mounts"].split(",")}
    assert set(mounts) == {*volumes_of(stages()["gpu"]), "/tmp", "/models"}
    assert mounts["/models"] == "/checkpoints"
    assert "/checkpoints:/models:ro" in options["container-mounts"]
    assert options["container-image"] == str(cluster.directory / "trtbench.sqsh")
    assert {"container-workdir", "no-container-mount-home", "no-container-remap-root", "mpi", "ntasks"} <= set(options)
    assert (cluster.directory / "trtbench-data" / "runs").is_dir()


@pytest.mark.parametrize(("variables", "said"), [({"IMAGE": "none.sqsh"}, "no image"), ({"DATA": "a,b"}, "no colon or comma")])
def test_what_cannot_start_is_reported_before_a_step(cluster: Cluster, variables: dict[str, str], said: str) -> None:
    done = cluster.submit("doctor", **variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert not cluster.noted.exists()
