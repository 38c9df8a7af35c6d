"""What the container files say, read as their tools would read it: the Dockerfile's stages, and trtbench commands by click's own parser."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click

from trtbench.cli.main import main
from trtbench.scenario.reading import load_scenario
from trtbench.system import packaged_data

ROOT = Path(__file__).parents[2]
SHELL_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""Commands that need Docker, Slurm, Kubernetes or a GPU: parsed here, never run. Those in `sh` blocks are run by test_docs.py."""


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def of(self, keyword: str) -> list[str]:
        return [arguments for name, arguments in self.instructions if name == keyword]


def stages() -> dict[str, Stage]:
    """The Dockerfile's stages in its order; the last is the default target."""
    lines = (line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: dict[str, Stage] = {}
    for line in filter(str.strip, joined.splitlines()):
        keyword, _, arguments = line.partition(" ")
        if keyword == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", arguments).groups()  # type: ignore[union-attr]
            found[name] = Stage(name, base, ())
        elif found:
            stage = found[next(reversed(found))]
            found[stage.name] = Stage(stage.name, stage.base, (*stage.instructions, (keyword, arguments)))
    return found


def environment_of(stage: Stage) -> dict[str, str]:
    return dict(pair.split("=", 1) for line in stage.of("ENV") for pair in shlex.split(line))


def volumes_of(stage: Stage) -> list[str]:
    return [path for line in stage.of("VOLUME") for path in json.loads(line)]


def tracked() -> set[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def check_trtbench(arguments: list[str]) -> None:
    """Fails when click does not take `arguments`, or they set a key that the shipped scenario they name cannot have."""
    context = click.Context(main, info_name="trtbench")
    command: click.Command = main
    rest = arguments
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert name and found
        command = found
    with command.make_context(command.name, list(rest), parent=context) as parsed:
        scenario, overrides = parsed.params.get("scenario"), parsed.params.get("overrides", ())
    if scenario and (packaged_data.SCENARIOS / f"{scenario}.yaml").is_file():
        load_scenario(packaged_data.SCENARIOS / f"{scenario}.yaml", overrides)


def shown_in(document: str) -> list[list[str]]:
    """Command lines of a document's `bash` blocks, as words; assignments before a command are left out."""
    text = "\n".join(SHELL_BLOCK.findall((ROOT / document).read_text("utf-8")))
    words = [shlex.split(line, comments=True) for line in re.sub(r"\\\n\s*", " ", text).splitlines()]
    return [stripped for line in words if (stripped := _without_assignments(line))]


def _without_assignments(words: list[str]) -> list[str]:
    return words[next((at for at, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words)) :]
