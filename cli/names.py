"""Names of what an instance has, for the help and the Tab key: quick or not at all."""

import click
from click.shell_completion import CompletionItem

from cli.client import Json, over
from cli.failure import Failure
from cli.place import Place

PATIENCE_S = 1.0
MOST_NAMES = 200


def tenants(place: Place) -> list[tuple[str, str]]:
    """Return the tenants of an instance that runs, each with its display name; none where there
    are too many to be named.
    """
    found = listed(place, "/tenants", "tenants")
    is_all = len(found) < MOST_NAMES
    return [(tenant["id"], tenant["name"]) for tenant in found] if is_all else []


def listed(place: Place, path: str, items: str, **query: object) -> list[Json]:
    """Return a list of an instance that runs; nothing where it does not, or is slow."""
    sockets = place.instance.live_sockets()
    if not sockets:
        return []
    try:
        with over(sockets[0], PATIENCE_S) as api:
            found: list[Json] = api.get(path, limit=MOST_NAMES, **query)[items]
    except Failure:
        return []
    return found


def complete_tenant(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return matching(tenants(ctx.obj), incomplete)


def complete_account(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    place: Place = ctx.obj
    found = listed(place, "/accounts", "accounts", tenant_id=place.tenant_id)
    return matching([(account["id"], account["host"]) for account in found], incomplete)


def complete_user(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    place: Place = ctx.obj
    found = listed(place, "/credentials", "credentials", tenant_id=place.tenant_id)
    return matching([(each["username"], "") for each in found], incomplete)


def matching(names: list[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=text) for name, text in names if name.startswith(incomplete)]
