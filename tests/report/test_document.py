from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import figures
from tests.support.runs.synthetic_run import SyntheticRun, write_synthetic_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.report.document import escape_markdown, write_reports
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.choices import Language
from trtbench.system.foreign_text import harmless

pytestmark = pytest.mark.whole_run

SECTIONS: dict[Language, list[str]] = {
    "en": [
        "Target model",
        "Test parameters",
        "Conclusion",
        "Findings",
        "Key metrics",
        "FP16 compared with INT8",
        "Latency",
        "Throughput and goodput",
        "Outcome of every request",
        "Batching",
        "KV cache",
        "Resources",
        "Load generator",
        "Environment",
        "Appendix: formulas",
        "Appendix: effective settings",
    ],
    "zh": [
        "目标模型",
        "压测参数",
        "结论",
        "诊断结果",
        "关键指标",
        "FP16 与 INT8 对比",
        "延迟",
        "吞吐量与有效吞吐量",
        "请求结果",
        "批处理",
        "KV 缓存",
        "资源",
        "压测客户端",
        "环境",
        "附录：公式",
        "附录：生效的设置",
    ],
}
HOSTILE = "x|y<script>alert(1)</script> `a` *b* [c](http://d) {{ 7*7 }} \"'&"


@pytest.fixture(scope="module", params=["en", "zh"])
def written(request: pytest.FixtureRequest, synthetic: SyntheticRun, summary: Summary) -> Iterator[tuple[Language, Path]]:
    """The figures of the English one are rendered."""
    language: Language = request.param
    with pytest.MonkeyPatch.context() as patch:
        if language != "en":
            patch.setattr(figures.plots, "_drawing", figures.sketch)
        paths = write_reports(synthetic.run, summary, language)
    assert all(path.is_file() for path in paths)
    yield language, synthetic.run.path


def test_sections_of_markdown(written: tuple[Language, Path]) -> None:
    language, path = written
    text = (path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS[language]
    assert text.splitlines()[0] == {"en": "# Load test report: synthetic", "zh": "# 压力测试报告：synthetic"}[language]


def test_markdown_tables_are_whole(written: tuple[Language, Path]) -> None:
    _, path = written
    tables = re.findall(r"(?:^\|.*\n)+", (path / "report.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(tables) == 34
    for table in tables:
        rows = [re.split(r"(?<!\\)\|", line) for line in table.splitlines()]
        assert len({len(row) for row in rows}) == 1
        assert all(re.fullmatch(r" -{3}:? ", cell) for cell in rows[1][1:-1])


def test_core_table_in_chinese(written: tuple[Language, Path]) -> None:
    language, path = written
    if language == "zh":
        text = (path / "report.md").read_text(encoding="utf-8")
        assert "| 并发数 | QPS | P99延迟(ms) | GPU利用率 | 错误率 |" in text
        assert "1010 = 1006 + 3 + 0 + 1 + 0" in text
        for words in ("模型ID", "部署方式", "并发用户", "测试时长", "请求数据", "瓶颈点", "建议"):
            assert words in text


def test_figures_exist_and_are_named_in_markdown(written: tuple[Language, Path]) -> None:
    _, path = written
    named = re.findall(r"\]\((plots/[^)]+)\)", (path / "report.md").read_text(encoding="utf-8"))
    assert len(named) == 6
    for name in named:
        assert (path / name).read_bytes().startswith(b"\x89PNG")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_html_needs_no_other_file(written: tuple[Language, Path]) -> None:
    language, path = written
    text = (path / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    names = [tag for tag, _ in tags.seen]
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert names.count("svg") == 6
    assert all(not (value or "").startswith("http") for _, attrs in tags.seen for key, value in attrs.items() if key in ("src", "href"))
    assert dict(tags.seen)["html"]["lang"] == {"en": "en", "zh": "zh-CN"}[language]
    assert "#1b1f24" not in text.split("</style>")[1], "ink follows the page's own colour"


def test_json_is_the_summary(written: tuple[Language, Path], summary: Summary) -> None:
    assert json.loads((written[1] / "summary.json").read_text(encoding="utf-8")) == json.loads(json.dumps(summary.to_json()))


@pytest.mark.process
def test_json_alone_draws_nothing(synthetic: SyntheticRun) -> None:
    program = (
        "import sys; from pathlib import Path; from trtbench.rundir.directory import RunDirectory;"
        "from trtbench.analysis.summary import summarise; from trtbench.report.document import write_reports;"
        "run = RunDirectory.open(Path(sys.argv[1])); print(write_reports(run, summarise(run), 'en', ['json']));"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(synthetic.run.path)], check=True, timeout=60)


@pytest.mark.usefixtures("sketched_figures")
def test_a_hostile_model_name_is_only_text(tmp_path: Path) -> None:
    run = RunDirectory.open(write_synthetic_run(tmp_path / "run", model=HOSTILE, kill_in="c1").run.path)
    write_reports(run, summarise(run), "en")
    html = (run.path / "report.html").read_text(encoding="utf-8")
    markdown = (run.path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html and "{{ 7*7 }}" in html
    prose = re.sub(r"^    .*$", "", markdown, flags=re.MULTILINE)
    assert "<script" not in prose and r"x\|y&lt;script&gt;" in prose and r"\[c\](http" in prose


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60))
def test_escaped_markdown_renders_as_the_text_itself(text: str) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    rendered = markdown_it.MarkdownIt("commonmark").enable("table").render(f"| a |\n| --- |\n| x{escape_markdown(text)}x |\n")
    tags, words = Tags(), []
    tags.handle_data = words.append  # type: ignore[method-assign]
    tags.feed(rendered)
    assert {tag for tag, _ in tags.seen} == {"table", "thead", "tbody", "tr", "th", "td"}
    assert "".join("".join(words).split()) == "".join(f"ax{harmless(text)}x".split())


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert escape_markdown("a\x1b[31mb\x00c\nd") == r"a\\x1b\[31mb\\x00c d"


@pytest.mark.usefixtures("sketched_figures")
def test_planned_cancellations_and_parts_of_a_mixed_workload_are_shown(tmp_path: Path) -> None:
    run = RunDirectory.open(write_synthetic_run(tmp_path / "run", mixed=True).run.path)
    write_reports(run, summarise(run), "en", ["md"])
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert "| c4 | 200 = 180 + 0 + 20 (20 as planned) + 0 + 0 | 0% (0% … 1.8%) | - |" in text
    assert "components of the mixed workload" in text and "first and later turns of sessions" in text
    assert "itl_exact" in text and "ttft_from_read" in text


@pytest.mark.usefixtures("sketched_figures")
def test_an_incomplete_run_says_so(tmp_path: Path) -> None:
    run = RunDirectory.open(write_synthetic_run(tmp_path / "run", kill_in="c4").run.path)
    write_reports(run, summarise(run), "en", ["md"])
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert "**INVALID**" in text and "This run is incomplete" in text
    assert "200 = 100 + 0 + 0 + 0 + 0 + 100 unrecorded" in text
    assert "Not run: c8, poisson-2." in text
    assert not (run.path / "report.html").exists()
