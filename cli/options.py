"""Options that many commands share."""

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from cli.times import Moment

Command = TypeVar("Command", bound=Callable[..., Any])
Declare = Callable[[Command], Command]

STATUSES = (
    "scheduled",
    "queued",
    "sending",
    "deferred",
    "sent",
    "partial",
    "failed",
    "cancelled",
    "suspended",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

FILTERS = (
    click.option("--status", type=click.Choice(STATUSES), help="Only these."),
    click.option("--account", "account_id", metavar="ID", help="Only what leaves by this account."),
    click.option("--batch", "batch_code", metavar="CODE", help="Only of this batch."),
    click.option("--recipient", metavar="ADDRESS", help="Only to this address."),
    click.option("--since", type=Moment(is_past=True), help="Accepted since: 2h, 2026-05-01."),
    click.option("--until", type=Moment(is_past=True), help="Accepted before."),
    click.option("--active", "active_only", is_flag=True, help="Only what is not final."),
)


def filters(command: Command) -> Command:
    """Declare the filters of GET /messages, by its names."""
    return reduce(lambda declared, option: option(declared), reversed(FILTERS), command)
