"""The API of the place that a command line names, once it is sure that the place exists."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.client import Api, Json, connected, segment
from cli.failure import Failure
from cli.menu import did_you_mean
from cli.place import Place


@contextmanager
def reach(place: Place) -> Iterator[Api]:
    """Give the API of the instance. Raises Failure where the tenant does not exist."""
    with connected(place.instance) as api:
        if place.tenant_id:
            tenant(api, place.tenant_id, place.name)
        yield api


def tenant(api: Api, tenant_id: str, instance_name: str) -> Json:
    """Return a tenant. Raises Failure, which names the nearest one."""
    found = api.find(f"/tenant/{segment(tenant_id)}")
    if found is None:
        known = [each["id"] for each in api.get("/tenants")["tenants"]]
        hint = did_you_mean(tenant_id, known)
        raise Failure(f"{instance_name} has no tenant {tenant_id!r}{hint}")
    return found
