from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trtbench.engine.tensorrt_llm.execution import parse_build_log
from trtbench.rundir.event_kinds import BuildStep

LOGS = Path(__file__).parents[1] / "logs"
LINES = [line for path in sorted(LOGS.glob("*.txt")) for line in path.read_text().splitlines()]


def read(name: str) -> str:
    return (LOGS / name).read_text()


def test_a_build_log() -> None:
    facts = parse_build_log(read("trtllm-build.txt"))
    assert facts.steps == (
        BuildStep("construct network", 0.8123950958251953),
        BuildStep("initialise weights", 0),
        BuildStep("generate engine", 30.5664),
        BuildStep("build network", 31),
        BuildStep("serialise engine", 1),
        BuildStep("build engines, total", 34),
    )
    assert facts.peak_host_bytes == round(10421.96 * 2**20)
    assert facts.peak_gpu_bytes == 1385 * 2**20
    assert set(facts.as_options()) == {"log_steps", "peak_host_bytes", "peak_gpu_bytes"}


def test_a_conversion_and_a_quantisation() -> None:
    assert [(step.label, step.seconds) for step in parse_build_log(read("convert.txt")).steps] == [
        ("read and convert", 8.44),
        ("save checkpoint", 1.78),
        ("convert checkpoint, total", 10),
    ]
    assert parse_build_log(read("quantize.txt")).steps == (BuildStep("quantise", 43.71),)


def test_the_python_loggers_lines_of_a_later_release() -> None:
    """With the module's name, and the rank's."""
    line = "[04/29/2026-11:04:09] [TRT-LLM] [I] [commands] [RANK 0] Total time of building all engines: 00:00:34\n"
    assert parse_build_log(line).steps == (BuildStep("build engines, total", 34),)


def test_the_largest_rank_counts() -> None:
    older = "[TRT] [I] [MemUsageStats] Peak memory usage during Engine building and serialization: CPU: 6600 MiB\n"
    facts = parse_build_log(older + "Build phase peak memory: 50.5 MB, children: 9999.00 MB\n")
    assert facts.peak_host_bytes == 6600 * 2**20
    assert facts.peak_gpu_bytes is None


def test_a_log_that_says_nothing() -> None:
    assert parse_build_log("").as_options() == {}
    assert parse_build_log("Total time of building all engines: soon\nBuild phase peak memory: X MB").as_options() == {}


@given(st.lists(st.one_of(st.text(), st.sampled_from(LINES)), max_size=30))
def test_no_text_makes_it_fail(lines: list[str]) -> None:
    facts = parse_build_log("\n".join(lines))
    assert all(step.seconds >= 0 for step in facts.steps)


@given(st.integers(0, len(LINES) - 1), st.integers(0, 300))
def test_a_line_cut_anywhere_does_not_either(index: int, length: int) -> None:
    parse_build_log(LINES[index][:length])
