"""Translation of a command line before click reads it: other tools' flags become ours, and unknown flags get a hint."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from trtbench.cli.flags.foreign import OF_COMMAND, SCENARIO_COMMANDS, Foreign
from trtbench.cli.flags.values import READERS
from trtbench.errors import UserError, in_one_line
from trtbench.system.foreign_text import harmless

RENAMED = "trtbench.renamed"
"""Key of a context's `meta`: {our flag: the other tool's flag that was typed}."""
_SUGGESTIONS, _SHOWN = 3, 60


class ManyWords(click.Option):
    """An option that takes every word up to the next flag, `--goodput ttft:500 tpot:50`, as one value with blanks between."""


class TranslatedCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = Words(self, {row.theirs: row for row in OF_COMMAND.get(self.name or "", ())})
        ours = [*words.translated(args)]
        ctx.meta.setdefault(RENAMED, {}).update(words.renamed)
        return super().parse_args(ctx, ours)


class Words:
    """`foreign`: by their flag, the rows that hold for `command`."""

    def __init__(self, command: click.Command, foreign: Mapping[str, Foreign]) -> None:
        self.renamed: dict[str, str] = {}
        self._command, self._foreign = command, foreign
        self._options = {flag: option for option in command.params if isinstance(option, click.Option) for flag in _flags(option)}
        self._options.setdefault("--help", click.Option(["--help"], is_flag=True))

    def translated(self, args: Sequence[str]) -> Iterator[str]:
        """Each word, ours in place of theirs; UserError for a flag that is neither."""
        rest = list(args)
        while rest:
            word = rest.pop(0)
            if word == "--":
                yield from (word, *rest)
                return
            if not word.startswith("-") or word == "-" or _is_number(word):
                yield word
                continue
            flag, value = _split(word)
            known = self._known(flag)
            yield from self._own(known, value, rest) if known else self._theirs(flag, value, rest)

    def _known(self, flag: str) -> str | None:
        """Our spelling of `flag`: with underscores too, as TensorRT-LLM's tools write them; None for a flag that is not ours."""
        spellings = (flag, f"--{flag[2:].replace('_', '-')}" if flag.startswith("--") else flag)
        return next((one for one in spellings if one in self._options), None)

    def _own(self, flag: str, value: str | None, rest: list[str]) -> Iterator[str]:
        option = self._options[flag]
        if option.is_flag:
            yield flag if value is None else f"{flag}={value}"
            return
        values = [self._value(flag, rest)] if value is None else [value]
        while rest and isinstance(option, ManyWords) and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        yield f"{flag}={' '.join(values)}"

    def _value(self, flag: str, rest: list[str], here: str = "") -> str:
        """The next word; UserError where there is none, or a flag in its place."""
        if not rest or _split(rest[0])[0] in self._options:
            raise UserError(f"{flag}: needs a value{here}")
        return rest.pop(0)

    def _theirs(self, flag: str, value: str | None, rest: list[str]) -> Iterator[str]:
        row = self._foreign.get(flag) or self._foreign.get(f"--{flag[2:].replace('_', '-')}")
        if row is None:
            raise UserError(self._unknown(flag))
        if "{}" in row.ours or row.words:
            value = self._value(flag, rest, f"; it is {row.ours.split('=')[0]} here" if row.ours else "") if value is None else value
        if row.words and value in row.words:
            return
        if not row.ours or row.reads == "only":
            raise UserError(f"{flag}{f' {value[:_SHOWN]}' if row.words and value else ''}: {row.says}")
        if value is not None and row.reads in READERS:
            value = READERS[row.reads](flag, value)
        words = [part.replace("{}", value or "") for part in row.ours.split(" ")]
        self.renamed |= {word.split("=")[0]: flag for word in words}
        for word in words:
            yield from self._own(*_split(word), rest) if "=" in word else [word]

    def _unknown(self, flag: str) -> str:
        from difflib import get_close_matches  # needed for no other command line

        asked = flag.replace("_", "-")
        known = [name for name in (*self._options, *self._foreign) if name.startswith("--")]
        longer = [name for name in known if len(asked) > 3 and name.startswith(asked)]
        close = (longer or get_close_matches(asked, known, _SUGGESTIONS, 0.7))[:_SUGGESTIONS]
        hint = f"did you mean {' or '.join(close)}?" if close else f"`{self._usage()} --help` lists the flags"
        if self._command.name in SCENARIO_COMMANDS and not close:
            hint = f"the scenario holds what is built, served and sent: --set KEY.PATH=VALUE changes a key, {hint}"
        return f"no such option {flag[:_SHOWN]} of `{self._usage()}`; {hint}"

    def _usage(self) -> str:
        group = "gpu " if (self._command.callback and self._command.callback.__name__.startswith("gpu_")) else ""
        return f"trtbench {group}{self._command.name}"


def value_fault(error: click.BadParameter) -> str:
    """The message for a value that click refuses, or for a missing one: a line that begins with the flag or the argument."""
    option = error.param
    name = option.opts[0] if isinstance(option, click.Option) else option.make_metavar(error.ctx) if option and error.ctx else "arguments"
    if isinstance(error, click.MissingParameter):
        return f"{name}: is required"
    return f"{name}: {' '.join(error.message.split()).rstrip('.')}"


def with_typed_names(message: str, meta: Mapping[str, Any]) -> str:
    """`message`, and what was typed in place of a flag that it names."""
    named = [
        f"{theirs} is {ours} here" for ours, theirs in meta.get(RENAMED, {}).items() if ours in message.split() or f"{ours}:" in message
    ]
    return f"{message} ({', '.join(named)})" if named else message


def _flags(option: click.Option) -> tuple[str, ...]:
    return (*option.opts, *option.secondary_opts)


def _split(word: str) -> tuple[str, str | None]:
    """(flag, its value in the same word): --flag=value, -fvalue."""
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        return flag, value if equals else None
    return word[:2], word[2:].removeprefix("=") or None


def _is_number(word: str) -> bool:
    return word[1:2].isdigit() or word[1:2] == "."


class CommandGroup(click.Group):
    """It removes what killed commands left, runs a command, and prints an error as one line with its exit code."""

    command_class = TranslatedCommand
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        from trtbench.system.leftovers import sweep  # `--help` ends before this

        sweep()
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"trtbench: {harmless(with_typed_names(str(error), ctx.meta))}", file=sys.stderr)
            ctx.exit(2)
        except click.BadParameter as error:
            print(f"trtbench: {harmless(with_typed_names(value_fault(error), ctx.meta))}", file=sys.stderr)
            ctx.exit(2)
        except click.UsageError as error:
            raise click.UsageError(harmless(error.format_message()), error.ctx) from error
        except OSError as error:  # such as a report that cannot be written
            print(harmless(f"trtbench: {in_one_line(error)}"), file=sys.stderr)
            ctx.exit(1)
