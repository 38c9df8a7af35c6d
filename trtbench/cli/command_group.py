"""The group of all commands: it removes what killed commands left, runs a command, and prints an error as one line with its exit code."""

from __future__ import annotations

import sys
from typing import Any

import click

from trtbench.cli.flags.translation import TranslatedCommand, value_fault, with_typed_names
from trtbench.errors import UserError, in_one_line
from trtbench.system.foreign_text import harmless


class CommandGroup(click.Group):
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
