"""`pillarbox parse-bounce`: what Pillarbox reads in a mail that came back.

With `--json` one object a line and file, for scripts; without it a table for people. A file that
cannot be read is told on standard error and makes the exit code 1; the others are still shown.
"""

import json
import sys
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.formats.bounce.model import Returned, ReturnedRecipient
from relay.formats.bounce.read import read_bounce

STANDARD_INPUT = "-"
SIZE_LIMIT_BYTES = 64 * 1024 * 1024
WIDTH_WITHOUT_TERMINAL = 160


@click.command("parse-bounce", short_help="Show what is read in a mail that came back.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file, each on a line.")
def parse_bounce(files: tuple[str, ...], as_json: bool) -> None:
    """Show for each FILE (- is standard input) whom the bounce is about, and what became of the
    mail.

    The kind is hard (the address will never work), soft (it may work later), block (about the
    sender or the mail) or none (no bounce: delayed, delivered, out of office, feedback report).
    """
    is_whole = True
    for file in files:
        try:
            raw = _octets(file)
        except OSError as error:
            click.echo(f"pillarbox: {file}: {error.strerror or error}", err=True)
            is_whole = False
            continue
        returned = read_bounce(raw)
        if as_json:
            click.echo(json.dumps(as_object(file, returned), ensure_ascii=False))
        else:
            _show(file, returned)
    if not is_whole:
        sys.exit(1)


def as_object(file: str, returned: Returned) -> dict[str, object]:
    return {
        "file": file,
        "kind": returned.kind.value,
        "reason": returned.reason,
        "recipients": [_recipient(each) for each in returned.recipients],
    }


def _recipient(recipient: ReturnedRecipient) -> dict[str, object]:
    return {
        "address": recipient.address,
        "action": recipient.action,
        "status": recipient.status,
        "reply_code": recipient.reply_code,
        "kind": recipient.kind.value,
        "reason": recipient.reason,
        "diagnostic": recipient.diagnostic,
    }


def _cells(recipient: ReturnedRecipient) -> tuple[str | int | None, ...]:
    return (
        recipient.address,
        recipient.kind.value,
        recipient.reason,
        recipient.action,
        recipient.status,
        recipient.reply_code,
        recipient.diagnostic,
    )


def _octets(file: str) -> bytes:
    if file == STANDARD_INPUT:
        return _bounded(sys.stdin.buffer)
    with Path(file).open("rb") as stream:
        return _bounded(stream)


def _bounded(stream: BinaryIO) -> bytes:
    return stream.read(SIZE_LIMIT_BYTES)


def _show(file: str, returned: Returned) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    console.print(Text(f"{file}: {returned.kind.value}, {returned.reason}"))
    if returned.is_complaint:
        named = ", ".join(returned.clues.complainants) or "someone who is not named"
        console.print(Text(f"  complaint of {named}"))
    if not returned.recipients:
        return
    table = Table("recipient", "kind", "reason", "action", "status", "reply", "what was said")
    for each in returned.recipients:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in _cells(each)))
    console.print(table)
