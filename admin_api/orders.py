"""/commands/{retry,cancel,hold,release,delete,cleanup}-messages: orders for stored messages."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from admin_api.messages import selected
from admin_api.problems import Answer, Problem, not_found
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.message import Selection
from admin_api.schemas.model import OfTenant
from admin_api.schemas.orders import (
    MOST_SHOWN,
    CleanedUp,
    CleanupBody,
    DeleteIds,
    DeleteQuery,
    Ordered,
    OrderIds,
    OrderQuery,
    Removed,
    Skipped,
)
from admin_api.services import Services
from relay.store.orders import Order, Verdict
from relay.store.retention import UNREPORTED, Rule

_SOMETIMES = frozenset({"warnings", "not_found", "dry_run", "skipped"})
_PASSED_OVER = (
    " A message of which an upstream is being offered anything is passed over whole: `being sent`."
)


@dataclass(slots=True)
class Tally:
    count: int = 0
    skipped_count: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.skipped is None:
                self.count += 1
                continue
            self.skipped_count += 1
            if len(self.skipped) < MOST_SHOWN:
                skipped = Skipped(id=verdict.id, pk=verdict.pk, reason=verdict.skipped)
                self.skipped.append(skipped)


async def retry_messages(services: Services, call: Call) -> Answer:
    return await _order(services, call, Order.RETRY)


async def cancel_messages(services: Services, call: Call) -> Answer:
    return await _order(services, call, Order.CANCEL)


async def hold_messages(services: Services, call: Call) -> Answer:
    return await _order(services, call, Order.HOLD)


async def release_messages(services: Services, call: Call) -> Answer:
    return await _order(services, call, Order.RELEASE)


async def delete_messages(services: Services, call: Call) -> Answer:
    query = call.read_query(DeleteQuery)
    call.caller.check(query.tenant_id)
    given, warnings = call.read_body(DeleteIds)
    names = await services.orders.resolve(query.tenant_id, given.ids)
    tally = Tally()
    pages = one_page(sorted(set(names.pks.values())))
    await services.uncut.run(_give(services, Order.DELETE, query, pages, tally))
    answer = Removed(
        removed=tally.count,
        skipped=tally.skipped or None,
        not_found=list(names.unknown) or None,
        dry_run=query.dry_run or None,
        warnings=warnings,
    )
    return Answer(shown(answer, omit=_SOMETIMES))


async def cleanup_messages(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    given, warnings = call.read_optional_body(CleanupBody)
    tenant = await services.tenants.find(query.tenant_id)
    if tenant is None:
        raise not_found("tenant")
    asked_s = given.older_than_seconds
    age_s = services.settings.keep_s if asked_s is None else asked_s
    unreported = UNREPORTED if tenant.client_base_url else ()
    rule = Rule(tenant.id, services.database.now() - age_s, unreported=unreported)
    removed = await services.uncut.run(services.retention.apply(rule))
    return Answer(shown(CleanedUp(removed=removed, warnings=warnings), omit=_SOMETIMES))


async def _order(services: Services, call: Call, order: Order) -> Answer:
    query = call.read_query(OrderQuery)
    call.caller.check(query.tenant_id)
    given, warnings = call.read_optional_body(OrderIds)
    unknown: tuple[str, ...] = ()
    if given.ids is not None:
        names = await services.orders.resolve(query.tenant_id, given.ids)
        pages, unknown = one_page(sorted(set(names.pks.values()))), names.unknown
    elif is_selective(query):
        pages = pks_of(services, query)
    else:
        raise Problem(422, "ids or a filter is expected; active_only=true means all that is open")
    tally = Tally()
    await services.uncut.run(_give(services, order, query, pages, tally))
    answer = Ordered(
        count=tally.count,
        skipped_count=tally.skipped_count,
        skipped=tally.skipped,
        not_found=list(unknown) or None,
        dry_run=query.dry_run or None,
        warnings=warnings,
    )
    return Answer(shown(answer, omit=_SOMETIMES - {"skipped"}))


async def _give(
    services: Services,
    order: Order,
    query: OrderQuery | DeleteQuery,
    pages: AsyncIterator[Sequence[str]],
    tally: Tally,
) -> None:
    async for pks in pages:
        if pks:
            tally.add(await services.orders.give(order, query.tenant_id, pks, is_dry=query.dry_run))


def is_selective(query: OrderQuery) -> bool:
    return bool(query.model_fields_set - {"tenant_id", "dry_run"})


async def one_page(pks: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    yield pks


async def pks_of(services: Services, selection: Selection) -> AsyncIterator[Sequence[str]]:
    async for views in selected(services.messages, selection):
        yield [view.pk for view in views]


Handler = Callable[[Services, Call], Awaitable[Answer]]


def _route(handler: Handler, name: str, summary: str, description: str) -> Route:
    return Route(
        "POST",
        f"/commands/{name}-messages",
        handler,
        Access.TENANT,
        summary,
        description=description
        + _PASSED_OVER
        + " Messages are named by ids, in the body, or by the filters of GET /messages, in the"
        " query; one of them is needed.",
        answer=Ordered,
        query=OrderQuery,
        body=OrderIds,
        body_is_optional=True,
    )


ROUTES = (
    _route(
        retry_messages,
        "retry",
        "Try mail again at once that was deferred or has failed",
        "Recipients that were tried and wait are due at once; those that have failed begin anew,"
        " while the content is there. Scheduled mail keeps its time, suspended mail stays.",
    ),
    _route(
        cancel_messages,
        "cancel",
        "Cancel mail that is not sent yet",
        "Every recipient that is still open becomes `cancelled`, with an event that is reported.",
    ),
    _route(
        hold_messages,
        "hold",
        "Hold messages until they are released",
        "They become `suspended`, and stay so when their batch is activated or when they are"
        " replaced by the same id.",
    ),
    _route(
        release_messages,
        "release",
        "Release messages that were held",
        "They go on at their own time. While their batch is suspended they stay held.",
    ),
    Route(
        "POST",
        "/commands/delete-messages",
        delete_messages,
        Access.TENANT,
        "Delete messages with all that is known of them",
        description="Mail that is not sent yet is deleted too, and never sent. Events that wait to"
        " be reported are still reported." + _PASSED_OVER,
        answer=Removed,
        query=DeleteQuery,
        body=DeleteIds,
    ),
    Route(
        "POST",
        "/commands/cleanup-messages",
        cleanup_messages,
        Access.TENANT,
        "Delete messages that are over",
        description="Only what is final goes, and reported where the tenant is called; events that"
        " were given up keep their message. Without `older_than_seconds`, the age since the end of"
        " a message, it is the retention of the instance, after which this happens by itself.",
        answer=CleanedUp,
        query=OfTenant,
        body=CleanupBody,
        body_is_optional=True,
        failures={404: "No such tenant"},
    ),
)
