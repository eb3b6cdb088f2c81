"""`pillarbox NAME TENANT info`, `run-now`, `suspend`, `activate`."""

from collections import Counter

import click

from cli.client import Api, Json
from cli.failure import not_running
from cli.options import as_json
from cli.output import from_now, note, print_facts, print_json
from cli.place import Place
from cli.reach import reach, tenant
from cli.tenants import batches, facts

PAGE_MESSAGES = 1000


@click.command(short_help="Show this tenant and its queue.")
@as_json
@click.pass_obj
def info(place: Place, as_json: bool) -> None:
    """Show the tenant, what of its mail is open, and how its callback stands."""
    with reach(place) as api:
        found = tenant(api, place.tenant_id, place.name)
        waiting = open_messages(api, place)
        sync = sync_of(api, place.tenant_id)
    if as_json:
        print_json({**found, "open_messages": waiting, "sync": sync})
        return
    shown = ", ".join(f"{count} {status}" for status, count in waiting.items())
    called = from_now(sync["last_sync_ts"]) if sync and sync["last_sync_ts"] else ""
    print_facts([*facts(found), ("not final", shown or "nothing"), ("last call taken", called)])


def open_messages(api: Api, place: Place) -> dict[str, int]:
    """Count what is not final, by status."""
    counts: Counter[str] = Counter()
    query = {"tenant_id": place.tenant_id, "active_only": True, "limit": PAGE_MESSAGES}
    for page in api.pages("/messages", "messages", **query):
        counts.update(message["status"] for message in page)
    return dict(counts)


def sync_of(api: Api, tenant_id: str) -> Json | None:
    found: list[Json] = api.get("/tenants/sync-status")["tenants"]
    return next((each for each in found if each["id"] == tenant_id), None)


@click.command("run-now", short_help="Send and report at once what is due.")
@click.pass_obj
def run_now(place: Place) -> None:
    """Send at once what is due, and call the tenant with what is to be reported."""
    if not place.instance.live_sockets():
        raise not_running(place.name)
    with reach(place) as api:
        api.post("/commands/run-now", tenant_id=place.tenant_id or None)
    note("asked for")


batch = click.option("--batch", "batch_code", metavar="CODE", help="Only this batch.")


@click.command(short_help="Hold back mail, all or a batch.")
@batch
@as_json
@click.pass_obj
def suspend(place: Place, batch_code: str | None, as_json: bool) -> None:
    """Hold back the tenant's mail, all of it or one batch, what comes later included."""
    turn(place, "suspend", batch_code, as_json=as_json)


@click.command(short_help="Let mail go that was suspended.")
@batch
@as_json
@click.pass_obj
def activate(place: Place, batch_code: str | None, as_json: bool) -> None:
    """Let suspended mail go again, all of it or one batch."""
    turn(place, "activate", batch_code, as_json=as_json)


def turn(place: Place, name: str, batch_code: str | None, *, as_json: bool) -> None:
    with reach(place) as api:
        standing = api.post(f"/commands/{name}", tenant_id=place.tenant_id, batch_code=batch_code)
    if as_json:
        print_json(standing)
        return
    note(f"suspended now: {batches(standing['suspended_batches']) or 'nothing'};"
         f" {standing['pending_messages']} messages are not final")  # fmt: skip
