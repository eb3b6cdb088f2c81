"""How this node is: /health, /ready, /metrics, /status; and /commands/run-now."""

from admin_api.auth import rejection, token
from admin_api.problems import Answer, again, unauthorized
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.model import Ok
from admin_api.schemas.node import (
    Alive,
    Listening,
    MailboxTrouble,
    NodeFacts,
    Status,
    Trouble,
    WakeQuery,
)
from admin_api.services import Services
from relay.crypto import digest, same
from relay.store.mailboxes import Standing

_SOMETIMES = frozenset({"queue", "facts"})


async def health(_services: Services, _call: Call) -> Answer:
    return Answer({"status": "ok"})


async def ready(services: Services, _call: Call) -> Answer:
    trouble = await services.readiness.trouble()
    return Answer({"status": "ready"}) if trouble is None else again(503, trouble)


async def metrics(services: Services, call: Call) -> Answer:
    wanted = services.settings.metrics_token_digest
    if wanted is not None and not call.caller.is_admin:
        await check_metrics_token(services, call, wanted)
    await services.gauges.refresh()
    body, content_type = services.metrics.render()
    return Answer(body, content_type=content_type)


async def check_metrics_token(services: Services, call: Call, wanted: str) -> None:
    given = token(call.headers)
    if not given:
        raise unauthorized()
    if not same(digest(given), wanted):
        raise await rejection(given, services, call.peer_ip)


async def status(services: Services, call: Call) -> Answer:
    own = call.caller.tenant_id
    troubles = [t for t in services.accounts_in_trouble() if own in (None, t.tenant_id)]
    mailboxes = [m for m in await services.mailboxes.troubled() if own in (None, m.key[0])]
    depth = await services.gauges.depth() if call.caller.is_admin else None
    answer = Status(
        ok=True,
        active=services.is_active(),
        version=services.version,
        node=services.node,
        queue=None if depth is None else depth.by_state,
        accounts_in_trouble=[
            Trouble(tenant_id=t.tenant_id, account_id=t.account_id, reason=t.reason, until=t.until)
            for t in troubles
        ],
        mailboxes_in_trouble=[mailbox_trouble(mailbox) for mailbox in mailboxes],
        facts=facts_of(services) if call.caller.is_admin else None,
    )
    return Answer(shown(answer, omit=_SOMETIMES))


def mailbox_trouble(standing: Standing) -> MailboxTrouble:
    tenant_id, account_id = standing.key
    return MailboxTrouble(
        tenant_id=tenant_id or None,
        account_id=account_id or None,
        reason=standing.error or "",
        since=standing.failing_since or 0.0,
        last_ok_ts=standing.looked_at,
        until=standing.due_at,
    )


def facts_of(services: Services) -> NodeFacts:
    return NodeFacts(
        instance=services.settings.instance_name,
        database="sqlite" if services.database.single_writer else "postgresql",
        now=services.database.now(),
        listening=[
            Listening(service=each.service, address=each.address)
            for each in services.operation.listening()
        ],
    )


async def run_now(services: Services, call: Call) -> Answer:
    asked = call.read_query(WakeQuery).tenant_id
    if asked is not None:
        call.caller.check(asked)
    services.wake(asked or call.caller.tenant_id)
    return Answer({"ok": True})


ROUTES = (
    Route("GET", "/health", health, Access.OPEN, "Whether the process lives", answer=Alive),
    Route(
        "GET",
        "/ready",
        ready,
        Access.OPEN,
        "Whether this node can write to its database",
        answer=Alive,
        failures={503: "It cannot; the detail says why"},
    ),
    Route(
        "GET",
        "/metrics",
        metrics,
        Access.OPEN,
        "Metrics for Prometheus; a setting can ask for a token",
        answer_type="text/plain",
        failures={
            401: "The token is missing or wrong",
            429: "Too many wrong tokens from this address; see Retry-After",
        },
    ),
    Route("GET", "/status", status, Access.TENANT, "How this node is", answer=Status),
    Route(
        "POST",
        "/commands/run-now",
        run_now,
        Access.TENANT,
        "Send what is due at once, and call the tenant with what is to be reported",
        answer=Ok,
        query=WakeQuery,
    ),
)
