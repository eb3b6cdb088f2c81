"""`pillarbox serve`: one node in the foreground, everything from settings and environment."""

from importlib import import_module
from pathlib import Path

import click

from cli.failure import Failure
from cli.garbage import collect_nothing
from cli.grammar import RESERVED
from cli.place import home_of


@click.command(short_help="Run a node in the foreground.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where instances live; $PILLARBOX_HOME or ~/.pillarbox.",
)
@click.option(
    "--name", default="default", show_default=True, help="The instance: a folder of the home."
)
@click.option("--smtp-listen", metavar="HOST:PORT[,…]", help="Addresses for SMTP.")
@click.option("--http-listen", metavar="HOST:PORT", help="Address of REST and /metrics.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Nodes on this machine; needs PostgreSQL."
)
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    home: Path | None,
    name: str,
    log_file: Path | None,
    **listens: str | int | None,
) -> None:
    """Run a node in the foreground, until SIGTERM or Ctrl-C.

    Settings come from these options, the environment (PILLARBOX_…) and pillarbox.toml in the
    instance's folder. At the first start the folder is made, with an embedded database, an admin
    token (file api_token) and an encryption key (file encryption_key).
    """
    if name in RESERVED:
        raise Failure(f"{name!r} is a command: it cannot be an instance's name", 2)
    given = {key.replace("_listen", ".listen"): value for key, value in listens.items()}
    collect_nothing()
    # A node takes half a second to load, which those who ask for --help need not wait for.
    import_module("cli.foreground").serve(home or home_of(ctx), name, given, log_file)
