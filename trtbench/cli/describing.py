"""The commands that describe what there is: `trtbench scenarios`, `schema` and `doctor`."""

from __future__ import annotations

import sys

import click

from trtbench.cli.flags.translation import TranslatedCommand


@click.command(cls=TranslatedCommand)
def scenarios() -> None:
    """List the shipped scenarios with purpose, duration and number of requests."""
    from trtbench.cli.commands import scenarios_command

    scenarios_command()


@click.command(cls=TranslatedCommand)
def schema() -> None:
    """Print the JSON schema of scenario files, which editors can use."""
    from trtbench.cli.commands import schema_command

    schema_command()


@click.command(cls=TranslatedCommand)
def doctor() -> None:
    """Print what this machine can run, and how to fix what it cannot."""
    from trtbench.cli.commands import doctor_command

    sys.exit(doctor_command())
