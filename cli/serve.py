"""`pillarbox serve`: one node in the foreground, everything from settings and environment."""

import gc
import sys
from pathlib import Path
from typing import Literal, TextIO, cast

import click
import uvloop

from cli.failure import Failure
from cli.grammar import RESERVED
from cli.loading import load
from cli.log_file import LogFile
from cli.place import home_of
from cli.running import running, until_told_to_stop
from cli.serving import serving
from cli.workers import supervise
from relay import maillog
from relay.app.memory import return_big_buffers
from relay.config import Config

COLLECT_AFTER = 20_000


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
    config = load(home or home_of(ctx), name, given)
    configure_log(config, log_file)
    return_big_buffers()
    with serving(config.instance_dir):
        if config.workers > 1:
            sys.exit(supervise(config.workers, lambda: uvloop.run(run(config))))
        uvloop.run(run(config))


def configure_log(config: Config, log_file: Path | None) -> None:
    on_terminal: Literal["text", "json"] = "text" if sys.stderr.isatty() else "json"
    stream = None if log_file is None else cast(TextIO, LogFile(log_file))
    maillog.configure(config.log.format or on_terminal, config.log.level, stream=stream)


async def run(config: Config) -> None:
    async with running(config) as running_node:
        spare_the_collector()
        if sys.stderr.isatty():
            token = config.instance_dir / "api_token"
            click.echo(f"Pillarbox is ready: {running_node.http_url} (token: {token})", err=True)
        await until_told_to_stop(running_node.node)


def spare_the_collector() -> None:
    """Have garbage collected less often: a mail makes hundreds of objects and next to no cycles.

    What the start has made stays for good and need not be looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
