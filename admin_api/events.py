"""GET /events and below: what the callback carries, by cursor; what was given up, and again."""

from admin_api import cursors
from admin_api.problems import Answer, invalid
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.event import (
    Events,
    EventsQuery,
    ParkedEvents,
    ParkedQuery,
    Replay,
    Replayed,
)
from admin_api.schemas.model import OfTenant
from admin_api.services import Services
from relay.reports.entries import Entry, entry
from relay.store.events import Place, StoredEvent, place_of

_SOMETIMES = frozenset({"warnings"})
_LAST_NUMBER = 2**53


async def list_events(services: Services, call: Call) -> Answer:
    query = call.read_query(EventsQuery)
    call.caller.check(query.tenant_id)
    after = _number(query.after)
    found = await services.events.feed(query.tenant_id, after, query.limit)
    following = cursors.encode(str(found[-1].number)) if found else query.after
    return Answer({"ok": True, "events": _entries(found), "next_after": following})


async def list_parked(services: Services, call: Call) -> Answer:
    query = call.read_query(ParkedQuery)
    call.caller.check(query.tenant_id)
    found = await services.events.parked(query.tenant_id, _place(query.cursor), query.limit + 1)
    page = found[: query.limit]
    body: dict[str, object] = {"ok": True, "events": _entries(page)}
    if len(found) > len(page):
        body["next_cursor"] = cursors.encode(page[-1].event_id)
    return Answer(body)


async def replay_events(services: Services, call: Call) -> Answer:
    tenant_id = call.read_query(OfTenant).tenant_id
    call.caller.check(tenant_id)
    given, warnings = call.read_optional_body(Replay)
    named = given.event_ids
    places = None if named is None else [p for e in named if (p := place_of(e)) is not None]
    replayed = await services.events.replay(tenant_id, places)
    services.wake(tenant_id)
    return Answer(shown(Replayed(replayed=replayed, warnings=warnings), omit=_SOMETIMES))


def _entries(found: list[StoredEvent]) -> list[Entry]:
    return [told for event in found if (told := entry(event)) is not None]


def _number(cursor: str | None) -> int:
    text = cursors.decode(cursor, name="after") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= _LAST_NUMBER):
        raise invalid("query", "not a cursor of this list", "after")
    return int(text)


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    place = place_of(cursors.decode(cursor))
    if place is None:
        raise invalid("query", "not a cursor of this list", "cursor")
    return place


ROUTES = (
    Route(
        "GET",
        "/events",
        list_events,
        Access.TENANT,
        "What happened, in the words of delivery reports, oldest first; none is skipped",
        answer=Events,
        query=EventsQuery,
    ),
    Route(
        "GET",
        "/events/parked",
        list_parked,
        Access.TENANT,
        "What the tenant's URL did not take for three days, oldest first",
        answer=ParkedEvents,
        query=ParkedQuery,
    ),
    Route(
        "POST",
        "/commands/replay-events",
        replay_events,
        Access.TENANT,
        "Report parked events again, all or those named",
        answer=Replayed,
        body=Replay,
        body_is_optional=True,
        query=OfTenant,
    ),
)
