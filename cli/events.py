"""`pillarbox NAME TENANT events`: what the callback carries, to read and to follow."""

import time
from collections.abc import Iterator

import click

from cli.client import Api, Json
from cli.options import as_json
from cli.output import clock, plain, print_line_of_json, say
from cli.place import Place
from cli.reach import reach

LOOK_EVERY_S = 1.0
PAGE_EVENTS = 1000
KINDS = (
    ("sent_ts", "sent", "sent"),
    ("error_ts", "failed", "error"),
    ("deferred_ts", "deferred", "deferred_reason"),
    ("bounce_ts", "bounced", "bounce_reason"),
    ("pec_ts", "certified", "pec_event"),
)


@click.command(short_help="Show what happened, and follow it.")
@click.option("--follow", "-f", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option("--after", metavar="CURSOR", help="Only what came after this place.")
@as_json
@click.pass_obj
def events(place: Place, follow: bool, after: str | None, as_json: bool) -> None:
    """Show what happened to the tenant's mail, oldest first; with --json one object a line.

    The last line on standard error is where to go on: --after CURSOR.
    """
    with reach(place) as api:
        try:
            for entry, cursor in told(api, place, after, follow=follow):
                after = cursor
                print_line_of_json(entry) if as_json else print_entry(entry)
        except KeyboardInterrupt:
            pass
    if after and not as_json:
        click.echo(f"go on with: --after {after}", err=True)


def told(
    api: Api, place: Place, after: str | None, *, follow: bool
) -> Iterator[tuple[Json, str | None]]:
    """Give each event with the cursor of its page."""
    while True:
        page = api.get("/events", tenant_id=place.tenant_id, after=after, limit=PAGE_EVENTS)
        after = page["next_after"]
        for entry in page["events"]:
            yield entry, after
        if page["events"]:
            continue
        if not follow:
            return
        time.sleep(LOOK_EVERY_S)


def print_entry(entry: Json) -> None:
    when, what, why = next((k for k in KINDS if k[0] in entry), ("", "other", ""))
    words = [
        clock(entry.get(when)),
        what,
        entry.get("recipient") or "",
        entry["id"],
        entry.get(why) or "",
    ]
    say("  ".join(plain(word) for word in words if word))
