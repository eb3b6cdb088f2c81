"""A node in the foreground, from the words of the command line to SIGTERM."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TextIO, cast

import click
import uvloop

from cli.garbage import collect_from_now_on
from cli.loading import load
from cli.log_file import LogFile
from cli.running import running, until_told_to_stop
from cli.serving import serving
from cli.workers import supervise
from relay import maillog
from relay.app.memory import return_big_buffers
from relay.config import Config


def serve(home: Path, name: str, given: Mapping[str, object], log_file: Path | None) -> None:
    """Run it; `given` are the settings of the command line. Raises RelayError."""
    config = load(home, name, given)
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
        collect_from_now_on()
        if sys.stderr.isatty():
            token = config.instance_dir / "api_token"
            click.echo(f"Pillarbox is ready: {running_node.http_url} (token: {token})", err=True)
        await until_told_to_stop(running_node.node)
