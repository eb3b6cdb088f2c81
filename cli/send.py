"""`pillarbox NAME TENANT send`: give finished mails, and follow them to their end."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli.client import Api, Json, segment
from cli.failure import EX_UNAVAILABLE, Failure
from cli.giving import ALREADY, Given, Giver, Wish, follow
from cli.mail_files import MailFile, mail_files
from cli.options import as_json
from cli.output import note, notes, print_json
from cli.place import Place
from cli.reach import reach
from cli.times import Moment, Span

LOOK_EVERY_S = 0.3
INTERRUPTED = 128 + signal.SIGINT


class RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.0f}/s" if speed else "")


@click.command(short_help="Send finished mails: files, folders, mailboxes.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--account", "account_id", metavar="ID", help="Leave by this account.")
@click.option("--priority", help="immediate, high, medium, low, or 0 to 3.")
@click.option("--at", "deferred_ts", type=Moment(), help="Not before: 2h, 2026-05-01T08:00.")
@click.option("--from", "sender", metavar="ADDRESS", help="Envelope sender; <> for none.")
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, help="In place of To and Cc.")
@click.option("--batch", "batch_code", metavar="CODE", help="Their batch, to suspend as one.")
@click.option("--wait", "waits", is_flag=True, help="Follow them to the end; fail if one fails.")
@click.option("--timeout", "timeout_s", type=Span(), help="With --wait: how long at most.")
@as_json
@click.pass_obj
def send(
    place: Place,
    /,
    files: tuple[str, ...],
    sender: str | None,
    recipients: tuple[str, ...],
    waits: bool,
    timeout_s: float | None,
    as_json: bool,
    **query: Any,
) -> None:
    """Send finished mails (RFC 5322): a file each, all .eml of a folder, a Maildir, an mbox, or
    standard input (-).

    Their ids follow from content and envelope: run again, after Ctrl-C too, it sends nothing twice.
    """
    is_running = bool(place.instance.live_sockets())
    if waits and not is_running:
        raise Failure(f"{place.name} is not running: nothing would be sent", EX_UNAVAILABLE)
    mails = mail_files(files)
    wish = Wish(sender, recipients, {"tenant_id": place.tenant_id, **query})
    with reach(place) as api:
        given = give(api, wish, mails)
        final = wait_for(api, place, given, timeout_s) if waits else {}
    conclude(given, final, as_json=as_json)
    if not is_running:
        note(f"{place.name} is not running: they are sent once it is started")
    if any(each.is_refused for each in given) or any(s != "sent" for s in final.values()):
        raise SystemExit(1)


def give(api: Api, wish: Wish, mails: Sequence[MailFile]) -> list[Given]:
    """Give the mails, and tell at once of each that is refused. Ends the command on Ctrl-C."""
    given: list[Given] = []
    with progress(len(mails), "given") as advance:

        def noted(portions: list[Given]) -> None:
            given.extend(portions)
            advance(1)
            for each in portions:
                if each.is_refused:
                    note(f"{each.name}: {each.reason}")

        try:
            Giver(api, wish).give_all(mails, noted)
        except KeyboardInterrupt:
            pass
        except Failure:
            note(f"broken off: {tally(given)} of {len(mails)}; run it again for the rest")
            raise
        else:
            places = {mail.name: place for place, mail in enumerate(mails)}
            return sorted(given, key=lambda each: places[each.name])
    note(f"interrupted: {tally(given)} of {len(mails)}; run it again for the rest, nothing is sent"
         " twice")  # fmt: skip
    raise SystemExit(INTERRUPTED)


@contextmanager
def progress(total: int, what: str) -> Iterator[Any]:
    """Show a bar where there is much to do and a terminal to show it on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    is_shown = total > 1 and sys.stderr.isatty()
    with Progress(*columns, console=notes(), disable=not is_shown) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def wait_for(
    api: Api, place: Place, given: Sequence[Given], timeout_s: float | None
) -> dict[str, str]:
    """Follow what is queued, or was before, until it is final; return each one's status by id."""
    ids = list(dict.fromkeys(each.id for each in given if each.id and not each.is_refused))
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    statuses: dict[str, str] = {}

    def ask(mail_id: str) -> Json | None:
        return api.find(f"/messages/{segment(mail_id)}", tenant_id=place.tenant_id)

    with progress(len(ids), "final") as advance:
        for mail_id, record in follow(ask, ids, deadline, LOOK_EVERY_S):
            # One that is gone was over for so long that it is forgotten.
            statuses[mail_id] = record["status"] if record else "sent"
            advance(1)
            for recipient in record["recipients"] if record else ():
                if recipient["status"] not in ("sent", "bounced"):
                    note(f"{recipient['address']}: {recipient['status']}: {recipient['reply']}")
    return statuses


def conclude(given: Sequence[Given], final: dict[str, str], *, as_json: bool) -> None:
    if not as_json:
        note(tally(given) if not final else f"{tally(given)}; {counted(final.values())}")
        return
    print_json(
        [
            {
                "file": each.name,
                "id": each.id,
                "pk": each.pk,
                "status": final.get(each.id or "") or ("queued" if each.pk else None),
                "reason": each.reason,
            }
            for each in given
        ]
    )


def tally(given: Sequence[Given]) -> str:
    """Count what became of mails when they were given."""
    words = {
        "queued": sum(each.pk is not None for each in given),
        ALREADY: sum(each.reason == ALREADY for each in given),
        "refused": sum(each.is_refused for each in given),
    }
    return ", ".join(f"{count} {word}" for word, count in words.items() if count) or "none given"


def counted(words: Any) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
