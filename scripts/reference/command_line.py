"""docs/cli.md: every command with its arguments, options and defaults, read from click."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc

import click

from reference.markdown import NOTE, code, table
from trtbench.cli.main import main

_INTRO = """# Command line

{note}

`trtbench COMMAND --help` prints the same texts. [Exit codes](exit-codes.md) have a page of their own, and so have the flags of
[other tools](coming-from.md) that `trtbench bench` and `trtbench build` accept. A dash in the column "default" means that the option is
off or that its description states what applies without it."""


def command_line() -> str:
    return "\n\n".join((_INTRO.format(note=NOTE), *_commands(main, "trtbench")))


def _commands(group: click.Group, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        elif not command.hidden:
            yield from _command(command, f"{path} {name}")


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"## {path}"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield cleandoc(command.help or "")
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if options:
        yield table(("option", "default", "meaning"), (_row(option, context) for option in options))
    if command.epilog:
        yield from _epilog(command.epilog)


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    flags = ", ".join(code(flag) for flag in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {code(option.make_metavar(context).removesuffix(' ...'))}"
    repeated = " ..." if option.multiple else ""
    return f"{flags}{value}{repeated}", _default(option), " ".join((option.help or "").split())


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    value = option.to_info_dict()["default"]
    if value is None or value is False or value == ():
        return "-"
    if option.is_flag:
        return code(option.opts[0])
    return code(f"{value:g}" if isinstance(value, float) else value)


def _epilog(text: str) -> Iterator[str]:
    """Blocks of an epilog: those with examples as code, others as paragraphs."""
    for block in re.split(r"\n\s*\n", text.replace("\b\n", "").strip()):
        lines = block.splitlines()
        examples = [line.strip() for line in lines if line.startswith("  ")]
        yield " ".join(line for line in lines if not line.startswith("  "))
        if examples:
            yield "```text\n" + "\n".join(examples) + "\n```"
