"""`pillarbox NAME TENANT messages`: what was accepted, where it stands, and orders for it."""

from pathlib import Path
from typing import Any

import click

from cli.asking import asked_argument, confirm
from cli.client import Api, Json, segment
from cli.failure import Failure
from cli.options import as_json, filters, yes
from cli.output import clock, note, print_json, print_line_of_json, print_table
from cli.place import Place
from cli.reach import reach
from cli.timeline import print_message

PAGE_MESSAGES = 1000
SHOWN_MESSAGES = 50
MOST_IDS = 1000


@click.group(short_help="List, show and correct messages.")
def messages() -> None:
    """Messages: the mails that were accepted. An ID is the client's own, or the pk."""


@messages.command("list")
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=SHOWN_MESSAGES, show_default=True)
@as_json
@click.pass_obj
def list_messages(place: Place, /, limit: int, as_json: bool, **given: Any) -> None:
    """List messages, the latest ones, oldest first."""
    query = {"tenant_id": place.tenant_id, "newest_first": True, **wanted(given)}
    with reach(place) as api:
        answer = api.get("/messages", limit=limit, **query)
    latest = answer["messages"][::-1]
    if as_json:
        print_json(latest)
        return
    rows = [
        (clock(m["created_at"]), m["id"], m["status"], m["message"].get("from"), to(m), subject(m))
        for m in latest
    ]
    print_table(("accepted", "id", "status", "from", "to", "subject"), rows)
    if answer.get("next_cursor"):
        note(f"the latest {limit}; --limit shows more, messages export gives all")


def paged(api: Api, place: Place, given: Json) -> Any:
    """Read the messages that the filters name, page by page."""
    query = {"tenant_id": place.tenant_id, "limit": PAGE_MESSAGES, **wanted(given)}
    return api.pages("/messages", "messages", **query)


def wanted(given: Json) -> Json:
    """Return the filters that were given."""
    return {name: value for name, value in given.items() if value not in (None, False)}


def to(message: Json) -> str:
    addresses = [recipient["address"] for recipient in message["recipients"]]
    more = f" +{len(addresses) - 1}" if len(addresses) > 1 else ""
    return f"{addresses[0]}{more}" if addresses else ""


def subject(message: Json) -> str:
    return str(message["message"].get("subject") or "")


@messages.command("show")
@asked_argument("message_id", "ID", "Id")
@as_json
@click.option("--content", is_flag=True, help="Print the mail itself, as it is sent.")
@click.pass_obj
def show_message(place: Place, message_id: str, as_json: bool, content: bool) -> None:
    """Tell a message's story: accepted, each attempt, what comes next, what was reported."""
    path = f"/messages/{segment(message_id)}"
    with reach(place) as api:
        if content:
            with api.download(f"{path}/content", tenant_id=place.tenant_id) as pieces:
                for piece in pieces:
                    click.echo(piece, nl=False)
            return
        found = api.get(path, tenant_id=place.tenant_id)
    if as_json:
        print_json(found)
    else:
        print_message(found)


@messages.command("export")
@filters
@click.option("--history", is_flag=True, help="With every event of each message.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file.")
@click.pass_obj
def export_messages(place: Place, /, history: bool, output: Path | None, **given: Any) -> None:
    """Print all messages as JSON lines, oldest first; content is not in them."""
    given["include_history"] = history
    if output is not None and output.exists():
        raise Failure(f"{output} exists already", 2)
    count = 0
    with reach(place) as api, click.open_file(str(output or "-"), "w") as file:
        for page in paged(api, place, given):
            for message in page:
                print_line_of_json(message, file)
            count += len(page)
    note(f"{count} messages")


def order(name: str, verb: str, help_text: str) -> None:
    """Declare one of the orders: by ids, or by filters."""

    @messages.command(name, help=help_text, short_help=help_text.partition(".")[0] + ".")
    @click.argument("ids", metavar="[ID]...", nargs=-1)
    @filters
    @click.option("--dry-run", is_flag=True, help="Only say what would be done.")
    @as_json
    @yes
    @click.pass_obj
    def command(
        place: Place, /, ids: tuple[str, ...], dry_run: bool, as_json: bool, yes: bool, **given: Any
    ) -> None:
        chosen = wanted(given)
        if bool(ids) == bool(chosen):
            raise Failure("name messages by their ids, or by filters (--active is all open)", 2)
        with reach(place) as api:
            if chosen and not dry_run:
                count = give(api, place, name, (), {**chosen, "dry_run": True})["count"]
                confirm(f"{name.capitalize()} {count} messages?", yes=yes)
            result = give(api, place, name, ids, {**chosen, "dry_run": dry_run or None})
        conclude(result, verb, as_json=as_json)


def give(api: Api, place: Place, name: str, ids: tuple[str, ...], query: Json) -> Json:
    body = {"ids": list(ids)} if ids else None
    path = f"/commands/{name}-messages"
    return api.post(path, body, tenant_id=place.tenant_id, **query)


def conclude(result: Json, verb: str, *, as_json: bool) -> None:
    """Say what was done and what was not; fail where a message was named and is not there."""
    missing = result.get("not_found") or []
    skipped = result.get("skipped") or []
    if as_json:
        print_json(result)
    else:
        would = "would be " if result.get("dry_run") else ""
        count = result.get("count", result.get("removed"))
        note(f"{count} {'message' if count == 1 else 'messages'} {would}{verb}")
        for each in skipped:
            note(f"{each['id']}: {each['reason']}")
    if missing:
        raise Failure(f"not found: {', '.join(missing)}")


order("retry", "to be tried again", "Try again at once what was deferred or has failed.")
order("cancel", "cancelled", "Cancel what is not sent yet.")
order("hold", "held", "Hold messages until they are released.")
order("release", "released", "Release messages that were held.")


@messages.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_json
@yes
@click.pass_obj
def delete_messages(
    place: Place, ids: tuple[str, ...], dry_run: bool, as_json: bool, yes: bool
) -> None:
    """Delete messages with all that is known of them, also what is not sent yet."""
    if len(ids) > MOST_IDS:
        raise Failure(f"at most {MOST_IDS} messages at a time", 2)
    with reach(place) as api:
        if not dry_run:
            confirm(f"Delete {len(ids)} messages for good?", yes=yes)
        result = give(api, place, "delete", ids, {"dry_run": dry_run})
    conclude(result, "deleted", as_json=as_json)
