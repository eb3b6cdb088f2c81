"""The command `pillarbox`: what it offers, and how its failures end (sysexits.h)."""

import os
import sys
from importlib.metadata import version

import click

from cli.demo import demo
from cli.parse_bounce import parse_bounce
from cli.serve import serve
from relay.errors import ConfigError, RelayError, StoreLocked, StoreUnavailable, UnsafeStore

EX_UNAVAILABLE = 69
EXITS: dict[type[RelayError], int] = {
    ConfigError: os.EX_CONFIG,
    UnsafeStore: os.EX_CONFIG,
    StoreLocked: os.EX_TEMPFAIL,
    StoreUnavailable: EX_UNAVAILABLE,
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("pillarbox"), prog_name="pillarbox")
def pillarbox() -> None:
    """Relay mail: applications drop their mail into it and get on with their work.

    Pillarbox takes mail by SMTP or REST, keeps it in a durable queue and delivers it through your
    own mail servers. Try `pillarbox demo` first.
    """


pillarbox.add_command(demo)
pillarbox.add_command(parse_bounce)
pillarbox.add_command(serve)


def main() -> None:
    """Run the command; an error of ours is its text on standard error and an exit code, no
    traceback.
    """
    try:
        pillarbox(prog_name="pillarbox")
    except RelayError as error:
        click.echo(f"pillarbox: {error}", err=True)
        sys.exit(next((code for kind, code in EXITS.items() if isinstance(error, kind)), 1))
