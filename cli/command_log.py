"""`pillarbox NAME command-log`: who did what through the API, this command line included."""

from collections import deque
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.asking import asked, confirm
from cli.client import Json
from cli.failure import Failure
from cli.options import as_json, yes
from cli.output import clock, note, print_json, print_table
from cli.place import Place
from cli.reach import reach
from cli.times import Moment

Command = TypeVar("Command", bound=Callable[..., Any])

PAGE_COMMANDS = 1000
SHOWN_COMMANDS = 50
FILTERS = (
    click.option("--tenant", "tenant_id", metavar="ID", help="Only what was about this tenant."),
    click.option("--caller", type=click.Choice(["admin", "tenant"]), help="Only whose token."),
    click.option("--method", type=click.Choice(["POST", "PUT", "DELETE"])),
    click.option("--route", help="Only this route, as /docs has it."),
    click.option("--since", type=Moment(is_past=True), help="Done since: 2h, 2026-05-01."),
    click.option("--until", type=Moment(is_past=True), help="Done before."),
)


def filters(command: Command) -> Command:
    return reduce(lambda declared, option: option(declared), reversed(FILTERS), command)


@click.group("command-log", short_help="Show who did what through the API.")
def command_log() -> None:
    """Show every call that changed something, never its body or a secret."""


@command_log.command("list")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN_COMMANDS, show_default=True)
@as_json
@click.pass_obj
def list_commands(place: Place, /, limit: int, as_json: bool, **wanted: Any) -> None:
    """List what was done, the latest, oldest first."""
    latest: deque[Json] = deque(maxlen=limit)
    with reach(place) as api:
        for page in api.pages("/command-log", "commands", limit=PAGE_COMMANDS, **wanted):
            latest.extend(page)
    if as_json:
        print_json(list(latest))
        return
    rows = [
        (clock(c["ts"]), c["caller"], c["tenant_id"], f"{c['method']} {c['route']}", c["target"],
         c["status"])
        for c in latest
    ]  # fmt: skip
    print_table(("when", "caller", "tenant", "what", "which", "status"), rows)


@command_log.command("export")
@filters
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file.")
@click.pass_obj
def export_commands(place: Place, /, output: Path | None, **wanted: Any) -> None:
    """Print all as JSON lines, oldest first."""
    if output is not None and output.exists():
        raise Failure(f"{output} exists already", 2)
    with (
        reach(place) as api,
        api.download("/command-log/export", **wanted) as pieces,
        click.open_file(str(output or "-"), "wb") as file,
    ):
        for piece in pieces:
            file.write(piece)


@command_log.command("purge")
@asked(
    "--before", label="Forget what was done before", type=Moment(is_past=True), help="90d, a date."
)
@yes
@click.pass_obj
def purge_commands(place: Place, before: float, yes: bool) -> None:
    """Forget what was done before a time; that this was done stays in the log."""
    confirm(f"Forget all commands before {clock(before)}?", yes=yes)
    with reach(place) as api:
        removed = api.delete("/command-log", until=before)["removed"]
    note(f"{removed} commands are forgotten")
