"""The command `pillarbox`: what it offers, and how its failures end (sysexits.h)."""

import os
import sys
from pathlib import Path

import click

from cli.failure import EX_UNAVAILABLE
from cli.grammar import ROOT, RootMenu
from relay.errors import ConfigError, RelayError, StoreLocked, StoreUnavailable, UnsafeStore

EXITS: dict[type[RelayError], int] = {
    ConfigError: os.EX_CONFIG,
    UnsafeStore: os.EX_CONFIG,
    StoreLocked: os.EX_TEMPFAIL,
    StoreUnavailable: EX_UNAVAILABLE,
}


@click.command(cls=RootMenu, entries=ROOT, subcommand_metavar="COMMAND | NAME COMMAND [ARGS]...")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where instances live; $PILLARBOX_HOME or ~/.pillarbox.",
)
@click.version_option(package_name="pillarbox", prog_name="pillarbox")
def pillarbox(home: Path | None) -> None:
    """Relay mail: applications drop their mail into it and get on with their work.

    Pillarbox takes mail by SMTP or REST, keeps it in a durable queue and delivers it through your
    own mail servers. Try `pillarbox demo` first.
    """


def main() -> None:
    """Run the command; an error of ours is its text on standard error and an exit code, no
    traceback.
    """
    try:
        pillarbox(prog_name="pillarbox")
    except RelayError as error:
        click.echo(f"pillarbox: {error}", err=True)
        sys.exit(next((code for kind, code in EXITS.items() if isinstance(error, kind)), 1))
