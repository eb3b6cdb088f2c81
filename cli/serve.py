"""`pillarbox serve`: one node in the foreground, everything from settings and environment."""

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import click
import uvloop

from cli.running import running, until_told_to_stop
from cli.workers import supervise
from relay import maillog
from relay.app.memory import return_big_buffers
from relay.config import Config, ensure_secrets

COLLECT_AFTER = 20_000


def default_home() -> Path:
    return Path(os.environ.get("PILLARBOX_HOME") or "~/.pillarbox").expanduser()


@click.command(short_help="Run a node in the foreground.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_home,
    show_default="$PILLARBOX_HOME or ~/.pillarbox",
    help="Where instances live.",
)
@click.option(
    "--name", default="default", show_default=True, help="The instance: a folder of the home."
)
@click.option("--smtp-listen", metavar="HOST:PORT[,…]", help="Addresses for SMTP.")
@click.option("--http-listen", metavar="HOST:PORT", help="Address of REST and /metrics.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Nodes on this machine; needs PostgreSQL."
)
def serve(
    home: Path, name: str, smtp_listen: str | None, http_listen: str | None, workers: int | None
) -> None:
    """Run a node in the foreground, until SIGTERM or Ctrl-C.

    Settings come from these options, the environment (PILLARBOX_…) and pillarbox.toml in the
    instance's folder. At the first start the folder is made, with an embedded database, an admin
    token (file api_token) and an encryption key (file encryption_key).
    """
    given = {"smtp.listen": smtp_listen, "http.listen": http_listen, "workers": workers}
    config = load(home, name, given)
    configure_log(config)
    return_big_buffers()
    if config.workers > 1:
        sys.exit(supervise(config.workers, lambda: uvloop.run(run(config))))
    uvloop.run(run(config))


def load(home: Path, name: str, given: Mapping[str, object]) -> Config:
    """Read every setting. Raises ConfigError with a line for each mistake."""
    config = Config.load(home=home, name=name, environ=os.environ, overrides=given)
    return ensure_secrets(config)


def configure_log(config: Config) -> None:
    on_terminal: Literal["text", "json"] = "text" if sys.stderr.isatty() else "json"
    maillog.configure(config.log.format or on_terminal, config.log.level)


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
