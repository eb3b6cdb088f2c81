"""`pillarbox use NAME[/TENANT]`: stay at one place; `pillarbox current`: which that is."""

import os

import click

from cli.failure import Failure
from cli.home import CURRENT, Instance, current, instances
from cli.menu import did_you_mean
from cli.options import as_json
from cli.output import note, print_json, say
from cli.place import Place, home_of
from cli.reach import reach


@click.command(short_help="Stay at an instance, or at a tenant of it.")
@click.argument("place", metavar="NAME[/TENANT]", required=False)
@click.option("--none", "is_none", is_flag=True, help="Stay nowhere.")
@click.pass_context
def use(ctx: click.Context, place: str | None, is_none: bool) -> None:
    """Stay at an instance, or at one of its tenants: its commands then follow pillarbox directly.

    After `pillarbox use prod/acme`, `pillarbox messages list` is
    `pillarbox prod acme messages list`.
    """
    home = home_of(ctx)
    if is_none == (place is not None):
        raise Failure("say which place, or --none", 2)
    if place is None:
        (home / CURRENT).unlink(missing_ok=True)
        note("nothing is in use any more")
        return
    name, _, tenant_id = place.partition("/")
    if not Instance(home, name).exists:
        hint = did_you_mean(name, [each.name for each in instances(home)])
        raise Failure(f"there is no instance {name!r} in {home}{hint}")
    if tenant_id:
        with reach(Place(home, name, tenant_id)):
            pass  # it exists
    fresh = home / f"{CURRENT}.{os.getpid()}"
    fresh.write_text(f"{place.rstrip('/')}\n", encoding="utf-8")
    fresh.replace(home / CURRENT)
    note(f"in use: {place.rstrip('/')}")


@click.command("current", short_help="Show what is in use.")
@as_json
@click.pass_context
def show_current(ctx: click.Context, as_json: bool) -> None:
    """Show which instance and tenant are in use."""
    name, tenant_id = current(home_of(ctx))
    if as_json:
        print_json({"instance": name, "tenant": tenant_id})
    elif name is None:
        raise Failure("nothing is in use; choose with: pillarbox use NAME[/TENANT]")
    else:
        say(f"{name}/{tenant_id}" if tenant_id else name)
