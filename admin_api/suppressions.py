"""GET, POST, DELETE /suppressions: addresses not written to: why, since when, until when."""

from collections.abc import AsyncIterator

from admin_api import cursors, strict_json
from admin_api.problems import Answer, invalid, not_found
from admin_api.routes import Access, Call, Route, Stream, shown
from admin_api.schemas.model import Ok
from admin_api.schemas.suppression import (
    SuppressionInput,
    SuppressionMade,
    SuppressionOutput,
    SuppressionQuery,
    Suppressions,
    SuppressionsQuery,
)
from admin_api.services import Services
from relay.formats.address import folded
from relay.store.suppressions import MANUAL, Suppression, SuppressionStore

PAGE_ITEMS = 1000
_SOMETIMES = frozenset({"warnings"})


async def list_suppressions(services: Services, call: Call) -> Answer | Stream:
    query = call.read_query(SuppressionsQuery)
    call.caller.check(query.tenant_id)
    after = cursors.decode(query.cursor)
    if query.limit is None:
        return Stream(pieces(services.suppressions, query, after))
    most = query.limit + 1
    found = await services.suppressions.page(query.tenant_id, after, most, query.address)
    page = found[: query.limit]
    body: dict[str, object] = {"ok": True, "suppressions": [output_of(item) for item in page]}
    if len(found) > len(page):
        body["next_cursor"] = cursors.encode(page[-1].address)
    return Answer(body)


async def save_suppression(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(SuppressionInput)
    tenant_id = call.caller.tenant(given.tenant_id, place="body")
    if await services.directory.tenant(tenant_id) is None:
        raise not_found("tenant")
    now = services.database.now()
    if given.until is not None and given.until <= now:
        raise invalid("body", "this time has passed", "until")
    item = Suppression(
        tenant_id, folded(given.address), given.reason or "", MANUAL, now, given.until
    )
    await services.suppressions.put([item])
    answer = SuppressionMade(address=item.address, until=item.until, warnings=warnings)
    return Answer(shown(answer, omit=_SOMETIMES))


async def delete_suppression(services: Services, call: Call) -> Answer:
    query = call.read_query(SuppressionQuery)
    call.caller.check(query.tenant_id)
    if not await services.suppressions.remove(query.tenant_id, query.address):
        raise not_found("suppression")
    return Answer({"ok": True})


async def pieces(
    store: SuppressionStore, query: SuppressionsQuery, after: str
) -> AsyncIterator[bytes]:
    """Write the answer with all of them, holding one page in memory."""
    yield b'{"ok":true,"suppressions":['
    separator = ""
    while found := await store.page(query.tenant_id, after, PAGE_ITEMS, query.address):
        items = ",".join(strict_json.dumps(output_of(item)) for item in found)
        yield (separator + items).encode()
        separator, after = ",", found[-1].address
    yield b"]}"


def output_of(item: Suppression) -> dict[str, object]:
    output = SuppressionOutput.model_construct(
        address=item.address,
        reason=item.reason or None,
        source=item.source,
        since=item.since,
        until=item.until,
    )
    return shown(output)


ROUTES = (
    Route(
        "GET",
        "/suppressions",
        list_suppressions,
        Access.TENANT,
        "List the addresses that a tenant does not write to; without a limit, all of them",
        answer=Suppressions,
        query=SuppressionsQuery,
    ),
    Route(
        "POST",
        "/suppressions",
        save_suppression,
        Access.TENANT,
        "Do not write to an address any more",
        description="Mail for it is refused: by REST as `suppressed`, by SMTP at RCPT. Of a mail"
        " with other recipients too, only this one fails. Bounces and complaints add addresses by"
        " themselves, as the tenant's `suppression` says.",
        answer=SuppressionMade,
        body=SuppressionInput,
        failures={404: "No such tenant"},
    ),
    Route(
        "DELETE",
        "/suppressions",
        delete_suppression,
        Access.TENANT,
        "Write to an address again",
        answer=Ok,
        query=SuppressionQuery,
        failures={404: "This address is not suppressed"},
    ),
)
