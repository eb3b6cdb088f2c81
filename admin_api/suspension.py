"""/commands/suspend and /commands/activate: a tenant holds its mail back and lets it go again."""

from collections.abc import Awaitable, Callable

from admin_api.problems import Answer, Problem
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.suspension import BatchQuery, BatchStanding
from admin_api.services import Services
from relay.errors import NotFound, Refused
from relay.store.batches import Standing
from relay.store.queue.gates import ALL

_SOMETIMES = frozenset({"batch_code"})

Turn = Callable[[str, str | None], Awaitable[Standing]]


async def suspend_batch(services: Services, call: Call) -> Answer:
    return await _answer(services, call, services.batches.suspend)


async def activate_batch(services: Services, call: Call) -> Answer:
    return await _answer(services, call, services.batches.activate)


async def _answer(services: Services, call: Call, turn: Turn) -> Answer:
    query = call.read_query(BatchQuery)
    tenant_id = call.caller.tenant(query.tenant_id, place="query")
    batch_code = None if query.batch_code == ALL else query.batch_code
    standing = await services.uncut.run(_turned(turn, tenant_id, batch_code))
    answer = BatchStanding(
        tenant_id=tenant_id,
        batch_code=batch_code,
        suspended_batches=list(standing.suspended),
        pending_messages=standing.pending,
    )
    return Answer(shown(answer, omit=_SOMETIMES))


async def _turned(turn: Turn, tenant_id: str, batch_code: str | None) -> Standing:
    try:
        return await turn(tenant_id, batch_code)
    except NotFound:
        raise Problem(400, "tenant not found") from None
    except Refused as refused:
        raise Problem(400, str(refused)) from None


ROUTES = (
    Route(
        "POST",
        "/commands/suspend",
        suspend_batch,
        Access.TENANT,
        "Hold back a tenant's mail, all of it or one batch",
        description="What an upstream is already being offered goes on; everything else of it waits"
        " from now on, mail that is added later included, and has no `deferred_ts`. Suspending all"
        ' replaces any list by `["*"]`; suspending one batch while all are suspended changes'
        " nothing. Asking again changes nothing.",
        answer=BatchStanding,
        query=BatchQuery,
        failures={400: "No such tenant"},
    ),
    Route(
        "POST",
        "/commands/activate",
        activate_batch,
        Access.TENANT,
        "Let suspended mail go again, all of it or one batch",
        description="Mail whose time has passed is sent at once, the rest at its own time. Mail"
        " that was held by `hold-messages` stays held. Asking again changes nothing.",
        answer=BatchStanding,
        query=BatchQuery,
        failures={400: "No such tenant, or one batch was named while all are suspended"},
    ),
)
