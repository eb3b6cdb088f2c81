"""GET /messages and below: what was accepted, where it stands, what it looks like."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import NoReturn

from admin_api import cursors, strict_json
from admin_api.problems import Answer, not_found
from admin_api.records import Story, full_record, record, status_of
from admin_api.routes import Access, Call, Route, Stream, shown
from admin_api.schemas.message import ContentQuery, FullRecord, ListQuery, Records, Selection
from admin_api.schemas.model import OfTenant
from admin_api.services import Services
from relay.formats.address import domain_of
from relay.model import State, lane_of
from relay.store.messages import Filter, MessageStore, MessageView

PAGE_MESSAGES = 200
_SOMETIMES = frozenset({"history"})


async def list_messages(services: Services, call: Call) -> Answer | Stream:
    query = call.read_query(ListQuery)
    call.caller.check(query.tenant_id)
    after = cursors.decode(query.cursor)
    tenant = await services.directory.tenant(query.tenant_id)
    listing = Listing(services, query, tenant.name if tenant else None)
    if query.limit is None:
        return Stream(listing.pieces(after))
    views = await listing.some(after, query.limit + 1)
    page = views[: query.limit]
    body: dict[str, object] = {"ok": True, "messages": await listing.records(page)}
    if len(views) > len(page):
        body["next_cursor"] = cursors.encode(page[-1].pk)
    return Answer(body)


async def show_message(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    view = await services.messages.find(query.tenant_id, call.path["id"])
    if view is None:
        _missing()
    tenant = await services.directory.tenant(query.tenant_id)
    story = Story(
        await services.messages.attempts(view.pk),
        await services.messages.events(view.pk),
        await services.receipts.of(view.tenant_id, view.pk),
        await services.attachments.views(view.pk),
        waiting_for(services, view),
    )
    full = full_record(view, tenant.name if tenant else None, story)
    return Answer(shown(full, omit=_SOMETIMES))


def waiting_for(services: Services, view: MessageView) -> str | None:
    if not any(r.state is State.QUEUED for r in view.recipients):
        return None
    return services.why_waiting(lane_of(view.tenant_id, view.account_id, domain_of(view.sender)))


async def show_content(services: Services, call: Call) -> Answer:
    tenant_id = call.caller.tenant(call.read_query(ContentQuery).tenant_id, place="query")
    view = await services.messages.find(tenant_id, call.path["id"])
    if view is None:
        _missing()
    content = await services.messages.content(view.pk)
    if content is None:
        raise not_found("content")
    return Answer(content, content_type="message/rfc822")


class Listing:
    """The messages that a query asks for, in the order in which they were accepted."""

    def __init__(self, services: Services, query: ListQuery, tenant_name: str | None) -> None:
        self._messages = services.messages
        self._query = query
        self._tenant_name = tenant_name

    async def some(self, after: str, most: int) -> list[MessageView]:
        """Return up to `most` messages past `after`."""
        found: list[MessageView] = []
        async for views in self._pages(after, min(most, PAGE_MESSAGES)):
            found += views
            if len(found) >= most:
                break
        return found[:most]

    async def records(self, views: Sequence[MessageView]) -> list[dict[str, object]]:
        return [await self._record(view) for view in views]

    async def pieces(self, after: str) -> AsyncIterator[bytes]:
        """Write the answer with all of them, holding one page in memory."""
        yield b'{"ok":true,"messages":['
        separator = ""
        async for views in self._pages(after, PAGE_MESSAGES):
            records = [strict_json.dumps(await self._record(view)) for view in views]
            if records:
                yield (separator + ",".join(records)).encode()
                separator = ","
        yield b"]}"

    def _pages(self, after: str, size: int) -> AsyncIterator[list[MessageView]]:
        wanted = replace(filter_of(self._query), newest_first=self._query.newest_first)
        return matching(self._messages, wanted, self._query.status, after, size)

    async def _record(self, view: MessageView) -> dict[str, object]:
        events = await self._messages.events(view.pk) if self._query.include_history else None
        return shown(record(view, self._tenant_name, events), omit=_SOMETIMES)


def selected(messages: MessageStore, selection: Selection) -> AsyncIterator[list[MessageView]]:
    """Read what is selected, page by page."""
    return matching(messages, filter_of(selection), selection.status, "", PAGE_MESSAGES)


async def matching(
    messages: MessageStore, wanted: Filter, status: str | None, after: str, size: int
) -> AsyncIterator[list[MessageView]]:
    """Read page by page. Status is derived, so it is asked of what was read."""
    while views := await messages.page(wanted, after=after, limit=size):
        yield [v for v in views if status in (None, status_of(v.recipients))]
        after = views[-1].pk


def filter_of(selection: Selection) -> Filter:
    return Filter(
        tenant_id=selection.tenant_id,
        active_only=selection.active_only,
        account_id=selection.account_id,
        batch_code=selection.batch_code,
        since=selection.since,
        until=selection.until,
        recipient=selection.recipient,
    )


def _missing() -> NoReturn:
    raise not_found("message")


ROUTES = (
    Route(
        "GET",
        "/messages",
        list_messages,
        Access.TENANT,
        "List a tenant's messages in the order of acceptance; without a limit, all of them",
        answer=Records,
        query=ListQuery,
    ),
    Route(
        "GET",
        "/messages/{id}",
        show_message,
        Access.TENANT,
        "Show a message, by the client's id or by pk, with its attempts and events",
        answer=FullRecord,
        query=OfTenant,
        failures={404: "No such message of this tenant"},
    ),
    Route(
        "GET",
        "/messages/{id}/content",
        show_content,
        Access.TENANT,
        "The mail as it is sent; dropped after delivery, unless the tenant keeps it",
        query=ContentQuery,
        answer_type="message/rfc822",
        failures={404: "No such message of this tenant, or its content was dropped"},
    ),
)
