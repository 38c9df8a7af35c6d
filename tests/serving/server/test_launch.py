"""How servers of TensorRT-LLM are started, watched and ended: on a fake `tritonserver` and `mpirun` that note what they were given."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.server.autopsy import fault_while_running
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.launch import DIRECT, Launch, engine_launch, llmapi_launch
from trtbench.serving.server.log_facts import log_facts
from trtbench.serving.server.server import ServerError, TritonServer

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOADED = FIXTURES / "trtllm_logs" / "loaded_written_by_hand.log"

pytestmark = [pytest.mark.process, pytest.mark.timeout(60, func_only=True)]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TritonServer]:
    """A server of the fakes; what they noted lies in tmp_path."""
    programs = {"tritonserver": "fake_tritonserver", "mpirun": "fake_mpirun", "trtllm-llmapi-launch": "fake_llmapi_launch"}
    for program, fake in programs.items():
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{(FIXTURES / f'{fake}.py').read_text()}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path))
    monkeypatch.setenv("FAKE_LOG", str(LOADED))
    installation = TritonInstallation("PATH", tmp_path / "bin" / "tritonserver", tmp_path / "backends")
    (tmp_path / "models").mkdir()
    return lambda launch: TritonServer(installation, tmp_path / "models", tmp_path / "server.log", ("--x=1",), launch=launch)


def noted(directory: Path, ranks: int = 1) -> list[Any]:
    """What each rank noted, once all are there."""
    while len(paths := sorted(directory.glob("rank*.json"))) < ranks:
        pass
    return [json.loads(path.read_text()) for path in paths]


def gone(directory: Path) -> bool:
    """Whether no rank is left; one that is killed but not yet collected by its parent is as good as gone."""
    left = [pid for pid in (note["pid"] for note in noted(directory)) if psutil.pid_exists(pid)]
    return all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in left)


def test_one_gpu(serve: Callable[..., TritonServer], tmp_path: Path) -> None:
    with serve(engine_launch("auto", 1, ())) as server:
        assert server.version() == "2.59.0"
        (rank,) = noted(tmp_path)
        assert server.command == [str(tmp_path / "bin" / "tritonserver"), *rank["argv"]]
        assert "--x=1" in rank["argv"]
        assert log_facts(server.log.read_text()).kv_tokens == 294848
    assert gone(tmp_path)
    assert not (tmp_path / "mpirun.json").exists()


def test_leader_mode_gives_each_rank_a_server(serve: Callable[..., TritonServer], tmp_path: Path) -> None:
    with serve(engine_launch("auto", 3, (4, 5, 6))):
        words = json.loads((tmp_path / "mpirun.json").read_text())
        assert words[:5] == ["--allow-run-as-root", "--bind-to", "none", "-n", "1"]
        assert words.count(":") == 2
        first, *others = (note["argv"] for note in noted(tmp_path, 3))
        assert not any("model-control-mode" in word for word in first)
        for other in others:
            assert other[-2:] == ["--model-control-mode=explicit", "--load-model=tensorrt_llm"]
        prefixes = [next(word for word in argv if "shm-region" in word) for argv in (first, *others)]
        assert len(set(prefixes)) == 3
        assert all(prefix.startswith(prefixes[0]) for prefix in prefixes)  # so that the supervisor finds what any rank left
    assert gone(tmp_path)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no Open MPI on this machine (apt-get install openmpi-bin)")
@pytest.mark.parametrize("ranks", [1, 2])
def test_open_mpi_itself_leaves_every_rank_all_cores(serve: Callable[..., TritonServer], tmp_path: Path, ranks: int) -> None:
    """Its default is one core each."""
    (tmp_path / "bin" / "mpirun").unlink()
    with serve(replace(engine_launch("mpirun", ranks, ()), oversubscribe=True)):
        assert [note["cores"] for note in noted(tmp_path, ranks)] == [sorted(os.sched_getaffinity(0))] * ranks
    assert gone(tmp_path)


def test_ranks_that_mpirun_leaves_behind_are_ended(
    serve: Callable[..., TritonServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is in a process group of its own, as Open MPI's are, and its parent is gone."""
    monkeypatch.setenv("FAKE_STUBBORN", "1")
    with serve(engine_launch("mpirun", 2, ())):
        assert len(noted(tmp_path, 2)) == 2
        assert not gone(tmp_path)
    assert gone(tmp_path)


def test_a_rank_that_dies_takes_all_with_it(serve: Callable[..., TritonServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_EXIT", "7")
    monkeypatch.setenv("FAKE_EXIT_RANK", "1")
    with (
        pytest.raises(ServerError, match=r"Exit code 7\. .*a rank of MPI ended, and the others with it \(1\)"),
        serve(engine_launch("auto", 2, ())) as server,
    ):
        while server.exit_code() is None:
            pass
        raise ServerError(str(server.death()))
    assert gone(tmp_path)


def test_orchestrator(serve: Callable[..., TritonServer], tmp_path: Path) -> None:
    with serve(engine_launch("orchestrator", 2, (0, 3))):
        (rank,) = noted(tmp_path)
        assert rank["env"] == {"TRTLLM_ORCHESTRATOR": "1", "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1"}
        pools = ["--cuda-memory-pool-byte-size=0:0", "--cuda-memory-pool-byte-size=3:0"]
        assert rank["argv"][-4:] == ["--pinned-memory-pool-byte-size=0", "--enable-peer-access=false", *pools]


def test_the_llm_apis_launcher_goes_before_each_rank(serve: Callable[..., TritonServer], tmp_path: Path) -> None:
    with serve(llmapi_launch("llmapi_launch", 2)) as server:
        assert len(noted(tmp_path, 2)) == 2
        assert server.command.count("trtllm-llmapi-launch") == 2
        assert json.loads((tmp_path / "mpirun.json").read_text()).count("trtllm-llmapi-launch") == 2


def test_more_ranks_than_cores(serve: Callable[..., TritonServer], tmp_path: Path) -> None:
    with serve(replace(engine_launch("auto", 2, ()), oversubscribe=True)):
        assert json.loads((tmp_path / "mpirun.json").read_text())[:4] == ["--allow-run-as-root", "--bind-to", "none", "--oversubscribe"]


def test_the_llm_api_spawns_its_own_ranks_otherwise() -> None:
    assert llmapi_launch("auto", 4).command(lambda rank: ["t"]) == ["mpirun", "--allow-run-as-root", "--bind-to", "none", "-n", "1", "t"]
    assert llmapi_launch("direct", 1).command(lambda rank: ["t"]) == ["t"]


def test_out_of_memory_at_load_is_reported(serve: Callable[..., TritonServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOG", str(FIXTURES / "trtllm_logs" / "out_of_memory_written_by_hand.log"))
    monkeypatch.setenv("FAKE_EXIT", "1")
    with pytest.raises(ServerError, match="Probable cause: GPU memory ran out; lower the KV cache"), serve(engine_launch("auto", 1, ())):
        pass


def test_a_fault_of_a_server_that_stays_up(serve: Callable[..., TritonServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LATE", "[TensorRT-LLM][ERROR] CUDA runtime error in cudaMallocAsync(p): out of memory (a.h:1)")
    with serve(DIRECT) as server:
        server.version()
        while not (fault := fault_while_running(server.log)):
            pass
        assert fault.startswith("GPU memory ran out; ")
        assert server.death() is None


def test_a_load_that_never_ends(serve: Callable[..., TritonServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")  # one that only waits
    with pytest.raises(ServerError, match=r"not ready after 4 s"), serve(replace(DIRECT, ready_timeout_s=4.0)):
        pass
    assert gone(tmp_path)


def test_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    DIRECT.check()
    for launch, program in ((engine_launch("auto", 2, ()), "mpirun"), (Launch(wrapper=("trtllm-llmapi-launch",)), "trtllm-llmapi-launch")):
        with pytest.raises(ScenarioError, match=f"{program} is not on PATH"):
            launch.check()
