"""What tests share: a synthetic run, and for those of a real server built engines, the installation, one server for all who only ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from tests.support.command import Command
from tests.support.fakes.fake_gpu import FakeGpus, compile_fakes
from tests.support.runs.synthetic_run import SyntheticRun, write_synthetic_run
from tests.support.tiers import UnitGuard, holds_no_test_of, mark_tier, tier_of
from tests.support.triton.kserve import Serving
from tests.support.triton.started_run import StartRun
from trtbench.analysis.summary import Summary, summarise
from trtbench.engine.build import PROVIDERS, build_engine
from trtbench.engine.spec import BuildLog, Engine, EngineSpec
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, KvCache, Scheduler
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.installation import InstallationError, TritonInstallation, find_tritonserver
from trtbench.serving.server.server import TritonServer
from trtbench.system import cuda

pytest_plugins = ["tests.support.fakes.fake_servers", "tests.support.engines.fake_engines", "tests.support.vllm_server"]

settings.register_profile("trtbench", deadline=None, max_examples=40)  # a busy machine is no fault of the code
settings.register_profile("thorough", deadline=None, max_examples=2000)  # pytest --hypothesis-profile=thorough
settings.load_profile("trtbench")

ROOT = Path(__file__).parents[1]
UNIT_GUARD = UnitGuard()
DTYPES: tuple[Dtype, ...] = ("fp16", "int8")

SMALL = Deployment(
    max_batch_size=8,
    dynamic_batching=DynamicBatching(preferred_batch_sizes=(4, 8), max_queue_delay_us=20_000),
    kv_cache=KvCache(blocks=24),
    scheduler=Scheduler(max_sequences=8, max_tokens_per_step=256),
    inference_threads=1,
)
"""768 tokens of KV cache: far below the model's 8192 positions, so that both limits can be met."""


@pytest.fixture(autouse=True)
def no_gpus_left_over() -> Iterator[None]:
    """What a fake driver showed one test is no machine of the next one's: the answer is kept for the process."""
    yield
    if cuda.visible_gpus.cache_info().currsize and cuda.visible_gpus():
        cuda.visible_gpus.cache_clear()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m TIER` leave out the modules that have no test of the tier: their imports are half of the time that collecting takes."""
    module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if module and holds_no_test_of(config.option.markexpr, collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a real server last. With several workers those that take longest come first, so that the workers end together."""
    for item in items:
        mark_tier(item)
    if not hasattr(config, "workerinput"):
        items.sort(key=_needs_server)
        return
    from tests.support.alone_last import PACED, mark_scope

    items.sort(key=lambda item: (tier_of(item), item.get_closest_marker(PACED) is not None), reverse=True)
    for item in items:
        mark_scope(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with UNIT_GUARD.over(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with UNIT_GUARD.over(item):
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    from tests.support.alone_last import workers

    return workers(len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.support.alone_last import AloneLast  # pytest-xdist is not in every container

    return AloneLast(config, log) if config.getvalue("dist") == "loadgroup" else None


def _needs_server(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, ("triton", "vllm")))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What a crash of the engine may hang on."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
        names = {key.strip(): value.strip() for key, value in facts.items()}
        flags = sorted(flag for flag in names.get("flags", "").split() if flag.startswith(("amx", "avx")))
        terminalreporter.write_line(f"processor: {names.get('model name', '-')}; {' '.join(flags)}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the engines before the first test that needs them: minutes in a new checkout, for which no test's time limit allows.

    Of several workers the first builds; no test runs before all have collected.
    """
    needed = (
        any("engines" in getattr(item, "fixturenames", ()) for item in session.items)
        and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    )
    if needed and not session.config.option.collectonly and PROVIDERS["openvino"].unavailable() is None:
        build_engines(print)


def build_engines(progress: Callable[[str], None]) -> dict[Dtype, Engine]:
    """From the checkout's cache, or built into it."""
    log = BuildLog(progress)
    specs = {dtype: EngineSpec(model="smollm2-135m", dtype=dtype, provider="openvino") for dtype in DTYPES}
    return {dtype: build_engine(spec, ROOT / "engines" / "built", log).engine for dtype, spec in specs.items()}


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the fake libnvidia-ml.so.1 and libcuda.so.1."""
    return compile_fakes(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def fake_gpus(fake_driver: Path, tmp_path: Path) -> FakeGpus:
    return FakeGpus(fake_driver, tmp_path)


@pytest.fixture
def figures_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure is rendered when the test looks at it."""
    from tests.support import figures  # imports matplotlib

    monkeypatch.setattr(figures.plots, "_drawing", figures.OnDemand)


@pytest.fixture
def sketched_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at a report's text."""
    from tests.support import figures

    monkeypatch.setattr(figures.plots, "_drawing", figures.sketch)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return write_synthetic_run(tmp_path_factory.mktemp("synthetic") / "run")


@pytest.fixture(scope="session")
def summary(synthetic: SyntheticRun) -> Summary:
    return summarise(RunDirectory.open(synthetic.run.path))


@pytest.fixture(scope="session")
def installation() -> TritonInstallation:
    try:
        return find_tritonserver()
    except InstallationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def engines() -> dict[Dtype, Engine]:
    if reason := PROVIDERS["openvino"].unavailable():
        pytest.skip(reason)
    return build_engines(lambda step: None)


@pytest.fixture(scope="session")
def int8_server(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    directory = tmp_path_factory.mktemp("int8-server")
    repository = render(engines["int8"], SMALL, Workload())
    root = repository.write(directory / "model_repository")
    with TritonServer(installation, root, directory / "server.log", repository.server_flags) as server:
        yield Serving(server, engines["int8"], SMALL)


@pytest.fixture(scope="session")
def start_run(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartRun]:
    """Start a run of a scenario, in a directory of its own; `installation` and `engines` say whether this machine can."""
    commands: list[Command] = []

    def begin(scenario: dict[str, Any], draws: bool = False) -> Command:
        directory = tmp_path_factory.mktemp("run")
        (directory / "scenario.yaml").write_text(yaml.safe_dump(scenario))
        arguments = ("serve-and-bench", str(directory / "scenario.yaml"), "--runs", str(directory / "runs"))
        command = Command(directory, *arguments, draws=draws)
        commands.append(command)
        return command

    yield begin
    for command in commands:
        command.end()
