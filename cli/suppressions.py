"""`pillarbox NAME TENANT suppressions`: addresses that are not written to."""

import click

from cli.asking import asked_argument
from cli.options import as_json
from cli.output import clock, note, print_json, print_table
from cli.place import Place
from cli.reach import reach
from cli.times import Moment


@click.group(short_help="Addresses that are not written to.")
def suppressions() -> None:
    """Suppressions: addresses that are not written to: why, since when, until when."""


@suppressions.command("list")
@click.option("--address", help="Only this address.")
@as_json
@click.pass_obj
def list_suppressions(place: Place, address: str | None, as_json: bool) -> None:
    """List the addresses."""
    query = {"tenant_id": place.tenant_id, "address": address}
    with reach(place) as api:
        found = api.get("/suppressions", **query)["suppressions"]
    if as_json:
        print_json(found)
        return
    rows = [
        (s["address"], s["source"], s["reason"], clock(s["since"]), clock(s["until"]))
        for s in found
    ]
    print_table(("address", "by", "why", "since", "until"), rows)


@suppressions.command("add")
@asked_argument("address", "ADDRESS", "Address")
@click.option("--reason", help="Why; it is shown in the list.")
@click.option("--until", type=Moment(), help="When it ends: 30d, 2027-01-01; else never.")
@click.pass_obj
def add_suppression(place: Place, address: str, reason: str | None, until: float | None) -> None:
    """Write no more to an address."""
    given = {"reason": reason, "until": until}
    body = {"tenant_id": place.tenant_id, "address": address}
    with reach(place) as api:
        api.post("/suppressions", body | {k: v for k, v in given.items() if v is not None})
    note(f"{address} is not written to any more")


@suppressions.command("remove")
@asked_argument("address", "ADDRESS", "Address")
@click.pass_obj
def remove_suppression(place: Place, address: str) -> None:
    """Write to an address again."""
    with reach(place) as api:
        api.delete("/suppressions", tenant_id=place.tenant_id, address=address)
    note(f"{address} is written to again")
