"""`pillarbox import-genro DB NAME`: move in from genro-mail-proxy."""

import os
import sys
from pathlib import Path

import click
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from cli.client import connected
from cli.failure import Failure
from cli.genro.giver import Giver
from cli.genro.mover import ACCOUNT, BROUGHT, MESSAGE, SKIPPED, TENANT, THERE, Mover, Tally
from cli.genro.source import opened
from cli.home import Instance
from cli.options import as_json
from cli.output import note, notes, print_json, print_table
from cli.place import ExistingInstance
from relay.crypto import Keyring
from relay.errors import ConfigError

KINDS = (TENANT, ACCOUNT, MESSAGE)
RAW_KEY_BYTES = 32
KEY_VARIABLE = "MAIL_PROXY_ENCRYPTION_KEY"


@click.command(short_help="Move in from genro-mail-proxy.")
@click.argument("database", metavar="DB")
@click.argument("instance", metavar="NAME", type=ExistingInstance())
@click.option("--dry-run", is_flag=True, help="Only say what would be brought, and what not.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Its encryption key, where its secrets are sealed; else ${KEY_VARIABLE}.",
)
@as_json
def import_genro(
    database: str, instance: Instance, dry_run: bool, key_file: Path | None, as_json: bool
) -> None:
    """Bring tenants, accounts, API keys and waiting mail from the database of a genro-mail-proxy.

    DB is the path of its SQLite file, or its postgresql:// URL (the password in ~/.pgpass or
    $PGPASSWORD). Stop its service first: else both send what waits. Nothing in DB is changed, and
    what NAME has already is left as it is, so that this can be run again.
    """
    keyring = keyring_of(key_file)
    with opened(database) as source, connected(instance) as api:
        tally = moved(Mover(source, api, None if dry_run else Giver(api), keyring))
    if as_json:
        print_json(as_object(tally, dry_run=dry_run))
    else:
        tell(tally, dry_run=dry_run)
    if any(tally.counts[kind, SKIPPED] for kind in KINDS):
        raise SystemExit(1)


def keyring_of(key_file: Path | None) -> Keyring | None:
    """Return the key of the secrets: base64, or the 32 bytes themselves. Raises Failure."""
    try:
        data = key_file.read_bytes() if key_file else os.environ.get(KEY_VARIABLE, "").encode()
    except OSError as error:
        raise Failure(f"{key_file}: {error.strerror}", os.EX_NOINPUT) from None
    if len(data) == RAW_KEY_BYTES:
        return Keyring([data])
    try:
        return Keyring.from_text(data.decode()) if data else None
    except (ConfigError, UnicodeDecodeError):
        where = key_file or f"${KEY_VARIABLE}"
        raise Failure(f"{where}: base64 of 32 bytes is expected", os.EX_CONFIG) from None


def moved(mover: Mover) -> Tally:
    columns = (TextColumn("{task.description}"), MofNCompleteColumn())
    is_shown = sys.stderr.isatty()
    with Progress(*columns, console=notes(), transient=True, disable=not is_shown) as bar:
        task = bar.add_task("messages", total=None)
        return mover.move(lambda count: bar.advance(task, count))


def tell(tally: Tally, *, dry_run: bool) -> None:
    for remark in tally.remarks:
        kind = remark.kind.removesuffix("s")
        note(f"{kind} {remark.name}{' not brought' if remark.skipped else ''}: {remark.text}")
    if tally.unreported:
        note(
            f"{tally.unreported} outcomes were not reported to clients yet and stay behind: let its"
            " service report them, with nothing left to send, before it is stopped"
        )
    words = ("would be brought" if dry_run else BROUGHT, THERE, SKIPPED)
    rows = [
        (kind, *(tally.counts[kind, what] for what in (BROUGHT, THERE, SKIPPED))) for kind in KINDS
    ]
    print_table(("", *words), rows)


def as_object(tally: Tally, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        **{
            kind: {
                "brought": tally.counts[kind, BROUGHT],
                "already_there": tally.counts[kind, THERE],
                "skipped": tally.counts[kind, SKIPPED],
            }
            for kind in KINDS
        },
        "unreported": tally.unreported,
        "remarks": [
            {"kind": each.kind, "name": each.name, "text": each.text, "skipped": each.skipped}
            for each in tally.remarks
        ],
    }
