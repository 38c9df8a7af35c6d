"""Every command that a document shows in an `sh` block is run here, in a directory of its own; one that no rule knows fails."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import ran
from tests.support.fakes.byte_tokenizer import write_byte_tokenizer
from tests.support.fakes.fake_openai import Manners, serving_openai
from tests.support.runs.synthetic_run import write_synthetic_run
from tests.support.triton.any_models import serve_any_models
from tests.support.triton.kserve import Serving
from trtbench.gpu.inventory import describe
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON_PAGE = ROOT / "docs" / "python.md"
SHORT = [
    *(f"--set=load.{stage}.requests={least}" for stage, least in enumerate((2, 4, 16, 2))),
    *("--set=load.0.warmup_requests=0", "--set=engines=[int8]"),
]
SHORT_OF = {
    "hot-reload": [
        *("--set=load.0.duration_s=8", "--set=hot_reload.before_s=1", "--set=hot_reload.reloads=[{kind: new_version}]"),
        *("--set=engines=[int8]", "--set=hot_reload.repeats=1"),
    ],
    "hot-reload-poll": [
        *("--set=load.0.duration_s=12", "--set=hot_reload.before_s=1", "--set=hot_reload.reloads=[{kind: new_version}]"),
        *("--set=engines=[int8]", "--set=hot_reload.repeats=1"),
    ],
    "hot-reload-warmup": [
        *("--set=load.0.duration_s=8", "--set=hot_reload.before_s=1", "--set=hot_reload.reloads=[{kind: new_version}]"),
        *("--set=hot_reload.model_warmup=true", "--set=hot_reload.repeats=1"),
    ],
    "hot-reload-encoder": [
        *("--set=load.0.duration_s=6", "--set=load.0.rate=20", "--set=hot_reload.before_s=1", "--set=hot_reload.repeats=1"),
    ],
    "encoder": [
        *("--set=grid.repeats=1", "--set=grid.max_batch_size=[16]", "--set=grid.max_queue_delay_us=[0]", "--set=engines=[fp16]"),
        *("--set=load.0.requests=4", "--set=load.0.warmup_requests=0", "--set=load.1.requests=12"),
    ],
    "resnet": [
        *(f"--set=load.{stage}.requests={least}" for stage, least in enumerate((4, 8, 4))),
        *("--set=load.0.warmup_requests=0", "--set=load.1.warmup_requests=0"),
    ],
    "encoder-long": [
        *("--set=grid.repeats=1", "--set=grid.max_batch_size=[8]", "--set=grid.preferred_batch_sizes=[[8]]"),
        *("--set=load.0.requests=16", "--set=load.0.warmup_requests=0"),
    ],
    "response-cache": [
        *(f"--set=load.{stage}.requests=10" for stage in range(4)),
        "--set=grid.repeats=1",
        "--set=load.0.warmup_requests=0",
    ],
    "adaptive-batching": [
        *("--set=grid.repeats=1", "--set=grid.max_batch_size=[4]", "--set=grid.policy=[adaptive]"),
        *("--set=load.0.requests=40", "--set=load.0.warmup_requests=40"),
    ],
    "batching": [
        *("--set=grid.repeats=1", "--set=grid.instances=[1]", "--set=grid.max_sequences=[8]", "--set=engines=[int8]"),
        *("--set=load.0.requests=4", "--set=load.0.warmup_requests=0", "--set=load.1.requests=12"),
    ],
    "kv-cache": [
        *(f"--set=load.{stage}.requests={least}" for stage, least in enumerate((1, 4, 8, 8, 8, 8, 12))),
        *("--set=load.0.warmup_requests=0", "--set=workload.prefix.tokens=32", "--set=workload.output_tokens=12", "--set=engines=[int8]"),
        "--set=workload.input_tokens=8",
    ],
    "scaling": ["--set=scaling.repeats=1", "--set=scaling.instances=[]", "--set=scaling.inference_threads=[]", "--set=load.0.requests=4"],
    "long-context": [
        *("--set=context_limit.concurrency=[1]", "--set=context_limit.confirm=0", "--set=context_limit.extreme_tokens=[]"),
        *("--set=deployments.default.kv_cache.blocks=6", "--set=engines=[int8]"),
    ],
}
"""What makes a shipped scenario a matter of seconds, with a request for each user; SHORT for those that are not named."""


def shown_commands() -> list[str]:
    lines = (line for path in DOCUMENTS for block in BLOCK.findall(path.read_text("utf-8")) for line in block.splitlines())
    return sorted({line.split(" #")[0].strip() for line in lines} - {""})


def trtbench(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "trtbench.cli.main", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)
    assert ran(done.returncode, cwd), done.stderr
    return done.stdout


def with_built_engines(directory: Path) -> None:
    (directory / "engines").mkdir()
    (directory / "engines" / "built").symlink_to(ROOT / "engines" / "built")


def python_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PYTHON_PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.whole_run
def test_the_python_page_says_what_its_examples_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = python_blocks("pycon")
    assert len(blocks) > 4
    page = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PYTHON_PAGE.name, str(PYTHON_PAGE), 0)
    printed: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(page, out=printed.append).failed == 0, "".join(printed)


@pytest.mark.triton
def test_the_python_page_runs_a_scenario(tmp_path: Path, engines: object) -> None:
    with_built_engines(tmp_path)
    (script,) = python_blocks("python")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["20"]
    assert list(tmp_path.glob("runs/*/report.html"))


def test_the_changelog_has_one_line_for_each_change() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    sections = {"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
    versions = [line for line in lines if line.startswith("## ")]
    assert versions
    assert [line for line in versions if not re.fullmatch(r"## \d+\.\d+\.\d+ - (not released|\d{4}-\d{2}-\d{2})", line)] == []
    assert {line for line in lines if line.startswith("### ")} <= sections
    assert [line for line in lines[lines.index(versions[0]) :] if len(line) > 140 or line.startswith("  ")] == []


def test_results_have_their_month() -> None:
    headings = [line for path in DOCUMENTS for line in path.read_text("utf-8").splitlines() if re.match(r"#+ Results", line)]
    assert len(headings) > 8
    assert [heading for heading in headings if not re.search(r"\([A-Z][a-z]+ \d{4}\)$", heading)] == []


def test_documents_show_commands() -> None:
    assert len(shown_commands()) > 8


@pytest.mark.process
@pytest.mark.parametrize("command", [shown for shown in shown_commands() if shown.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BENCHMARKS = [shown for shown in shown_commands() if "python benchmarks/" in shown]


@pytest.mark.process
@pytest.mark.parametrize("command", BENCHMARKS)
def test_benchmark_explains_itself(command: str) -> None:
    script = command.partition("python ")[2].split()[0]
    assert "usage" in subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


ON_ANY_MODEL = [shown for shown in shown_commands() if "--task infer" in shown]


@pytest.fixture(scope="module")
def any_models(installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serve_any_models(installation, tmp_path_factory.mktemp("any_models")) as server:
        yield server


@pytest.mark.triton
@pytest.mark.parametrize("command", ON_ANY_MODEL)
def test_command_on_any_model_runs(command: str, tmp_path: Path, any_models: TritonServer) -> None:
    _, *arguments = shlex.split(command)
    arguments[arguments.index("--url") + 1] = any_models.endpoints.grpc
    assert trtbench(*arguments, cwd=tmp_path)


OVER_HTTP = [shown for shown in shown_commands() if "--endpoint-type" in shown]


@pytest.mark.process
@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", OVER_HTTP)
def test_command_over_http_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *arguments = shlex.split(command)
    write_byte_tokenizer(tmp_path / "llama")
    monkeypatch.setenv("LLM_KEY", "key")
    with serving_openai(Manners(models=(arguments[arguments.index("--model") + 1],), token_s=0)) as server:
        arguments[arguments.index("--url") + 1] = server.url
        assert trtbench(*arguments, "--isl", "8", "--osl", "2", "--benchmark-duration", "1", cwd=tmp_path)


def write_endpoint_scenario(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scenario that docs/endpoints.md shows, and what it names."""
    (block,) = re.findall(r"^```yaml\n(name: chat\n.*?)^```", (ROOT / "docs/endpoints.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (directory / "chat.yaml").write_text(block, "utf-8")
    write_byte_tokenizer(directory / "llama")
    monkeypatch.setenv("LLM_KEY", "key")


OF_RUNS = [shown for shown in shown_commands() if shown.split()[:2] in (["trtbench", "compare"], ["trtbench", "baseline"])]


@pytest.mark.whole_run
@pytest.mark.parametrize("command", OF_RUNS)
def test_command_of_runs_runs(command: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert trtbench(*shlex.split(command)[1:], cwd=tmp_path)


WITH_VLLM = [shown for shown in shown_commands() if shown.split()[1:3] == ["serve-and-bench", "front-ends"]]

"""Run and looked at by tests/run/test_vllm_deployed.py."""


@pytest.mark.triton
@pytest.mark.by_itself
@pytest.mark.usefixtures("installation", "engines")
@pytest.mark.parametrize(
    "command",
    [
        shown
        for shown in shown_commands()
        if not shown.startswith("make ") and shown not in (*BENCHMARKS, *OVER_HTTP, *ON_ANY_MODEL, *WITH_VLLM, *OF_RUNS)
    ],
)
def test_command_runs(command: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    program, verb, *arguments = shlex.split(command)
    assert program == "trtbench", f"no rule knows how to run: {command}"
    with_built_engines(tmp_path)
    if verb == "serve-and-bench" and arguments[0] == "chat.yaml":
        write_endpoint_scenario(tmp_path, request.getfixturevalue("monkeypatch"))
    if verb == "gpu" and not describe():
        arguments += ["--help"]  # there is no GPU to look at
    if arguments[:1] == ["scaling"] and not shutil.which("haproxy"):
        pytest.skip("no haproxy here")
    if verb == "serve":
        serve_until_interrupted([verb, *arguments], tmp_path)
        return
    if verb == "bench":
        serving: Serving = request.getfixturevalue("int8_server")
        arguments[arguments.index("--url") + 1] = serving.server.endpoints.grpc
        arguments += ["--request-count", "4"]
    elif verb == "serve-and-bench" and "--dry-run" not in arguments:
        arguments += SHORT_OF.get(arguments[0], SHORT)
        arguments += ["--set=repeats=2"] if "--repeats" in arguments else []
    elif verb == "calibrate":
        arguments += ["--quick"]
    elif verb == "import":
        for name, stem in (("report.json", "report"), ("iterations.log", "iterations")):
            (tmp_path / name).write_bytes((ROOT / f"tests/fixtures/{stem}_trtllm_bench_written_by_hand{Path(name).suffix}").read_bytes())
    elif verb == "export":
        arguments[0] = str(ROOT / arguments[0])
    elif verb == "report":
        write_synthetic_run(tmp_path / "run")
        arguments[0] = str(tmp_path / "run")
    if verb == "doctor":
        # What this machine lacks is not the document's fault: the command must end and explain.
        done = subprocess.run([sys.executable, "-m", "trtbench.cli.main", verb], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return
    assert trtbench(verb, *arguments, cwd=tmp_path)


def serve_until_interrupted(arguments: list[str], cwd: Path) -> None:
    command = [sys.executable, "-m", "trtbench.cli.main", *arguments]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        assert "gRPC" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130
