"""Names of what an instance has, for the help and the Tab key: quick or not at all."""

from cli.client import over
from cli.failure import Failure
from cli.place import Place

PATIENCE_S = 1.0
MOST_NAMES = 200


def tenants(place: Place) -> list[tuple[str, str]]:
    """Return the tenants of an instance that runs, each with its display name."""
    sockets = place.instance.live_sockets()
    if not sockets:
        return []
    try:
        with over(sockets[0], PATIENCE_S) as api:
            found = api.get("/tenants", limit=MOST_NAMES)["tenants"]
    except Failure:
        return []
    return [(tenant["id"], tenant["name"]) for tenant in found]
