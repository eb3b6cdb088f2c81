"""POST /commands/add-messages: up to a thousand mails in one transaction, each judged alone."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from admin_api import strict_json
from admin_api.auth import Caller
from admin_api.drafts import MESSAGE_FIELDS, Desk, priority_of, submission_of
from admin_api.files import Room, encoded_chars
from admin_api.idempotency import ONCE, give, keyed, repeat
from admin_api.problems import Answer, Problem, invalid
from admin_api.rejections import ALREADY_SENT, INVALID, rejection_of, tell_of
from admin_api.routes import Access, Call, Route
from admin_api.schemas.message import Added, AddMessages
from admin_api.schemas.model import known_fields
from admin_api.services import Services
from relay.errors import OverQuota, Refused
from relay.ingress.submission import Origin, Submission
from relay.store.events import Rejection
from relay.store.queue.arrival import Accepted
from relay.store.queue.once import Answers, Once, Repeat
from relay.turns import Turn
from relay.value import frozen

MOST_MESSAGES = 1000
QUOTA = "quota exceeded"

_CALL_FIELDS = known_fields(AddMessages)
# Above this, decoding files would hold up the loop.
THREAD_CHARS = 256 * 1024


@frozen
class Outcome:
    """What became of one mail of the call; `id` is None where it had none."""

    id: str | None
    answer: Accepted | Refused


async def add_messages(services: Services, call: Call) -> Answer:
    value = await call.read_list("messages")
    items = _items(value)
    check_tenants(items, call.caller)
    warnings = warnings_of(value, items)
    key = await keyed(services, call)
    if isinstance(key, Answer):
        return key
    desk = desk_of(services, call, value.get("default_priority"))
    adding = Adding(services, items, desk, warnings)
    return await services.uncut.run(adding.run(key))


@frozen
class Adding:
    """One call on its way to the door and back."""

    services: Services
    items: Sequence[object]
    desk: Desk
    warnings: list[str] | None

    async def run(self, key: Once | None) -> Answer:
        """Give what can be given to the door, and tell what became of each item, in order."""
        judged = await self._judge()
        submissions = [item for item in judged if isinstance(item, Submission)]

        def outcomes(answers: Answers) -> list[Outcome]:
            stored = iter(answers)
            return [
                Outcome(_id_of(item), verdict if isinstance(verdict, Refused) else next(stored))
                for item, verdict in zip(self.items, judged, strict=True)
            ]

        def compose(answers: Answers) -> str | None:
            return remembered(outcomes(answers), self.warnings)

        given = await give(self.services, submissions, key and replace(key, compose=compose))
        if isinstance(given, Repeat):
            return repeat(given)
        told = outcomes(given)
        if any(isinstance(outcome.answer, Refused) for outcome in told):
            await tell_of(self.services.events, _rejections(self.items, told, self.desk))
        return answer_of(told, self.warnings)

    async def _judge(self) -> list[Submission | Refused]:
        judged = []
        turn = Turn()
        for item in self.items:
            judged.append(await _judged(item, self.desk))
            if turn.is_long:
                await turn.end()
        return judged


def answer_of(outcomes: Sequence[Outcome], warnings: list[str] | None) -> Answer:
    """Tell what became of each. Where nothing was queued and something is wrong with one it is 400,
    or 429 when it was only too much.
    """
    body = _body_of(outcomes, warnings)
    if body["queued"]:
        return Answer(body)
    rejected = [o.answer for o in outcomes if isinstance(o.answer, Refused)]
    reasons = {refused.reason for refused in rejected} - {ALREADY_SENT}
    if not reasons:
        return Answer(body)
    detail = {"error": "All messages rejected", "rejected": body["rejected"]}
    if reasons == {QUOTA}:
        wait_s = max(r.wait_s for r in rejected if isinstance(r, OverQuota))
        raise Problem(429, detail, {"Retry-After": str(math.ceil(wait_s))})
    raise Problem(400, detail)


def remembered(outcomes: Sequence[Outcome], warnings: list[str] | None) -> str | None:
    """Return the answer as it is given again to the same key; none where nothing was queued."""
    body = _body_of(outcomes, warnings)
    return strict_json.dumps(body) if body["queued"] else None


def _body_of(outcomes: Sequence[Outcome], warnings: list[str] | None) -> dict[str, object]:
    rejected = [_rejection(o.id, o.answer) for o in outcomes if isinstance(o.answer, Refused)]
    queued = [
        {"id": o.id if o.id is not None else o.answer.pk, "pk": o.answer.pk}
        for o in outcomes
        if isinstance(o.answer, Accepted)
    ]
    body = {"ok": True, "queued": len(queued), "rejected": rejected, "messages": queued}
    return {**body, "warnings": warnings} if warnings else body


def check_tenants(items: Iterable[object], caller: Caller) -> None:
    """Raise 401 when a tenant's key names another tenant."""
    if caller.is_admin:
        return
    for item in items:
        if isinstance(item, dict) and item.get("tenant_id"):
            caller.check(item["tenant_id"])


def desk_of(services: Services, call: Call, default_priority: object = None) -> Desk:
    if not isinstance(default_priority, int | str | None):
        raise invalid("body", "a number or a label is expected", "default_priority")
    try:
        priority = priority_of(default_priority, None)
    except Refused as refused:
        raise invalid("body", str(refused), "default_priority") from None
    return Desk(
        host_name=services.settings.host_name,
        max_recipients=services.settings.max_recipients,
        room=Room(services.settings.max_files, services.settings.max_message_bytes),
        now=services.database.now(),
        origin=Origin(protocol="HTTP", ip=call.peer_ip),
        tenant_id=call.caller.tenant_id,
        default_priority=priority,
    )


def warnings_of(value: dict[str, object], items: Iterable[object]) -> list[str] | None:
    """Name the fields that nobody knows, each once."""
    unknown = set(value.keys() - _CALL_FIELDS)
    for item in items:
        if isinstance(item, dict) and not item.keys() <= MESSAGE_FIELDS:
            unknown |= item.keys() - MESSAGE_FIELDS
    return sorted(unknown) or None


def _items(value: dict[str, object]) -> list[object]:
    items = value.get("messages")
    if not isinstance(items, list):
        raise invalid("body", "a list is expected", "messages")
    if len(items) > MOST_MESSAGES:
        raise Problem(400, f"at most {MOST_MESSAGES} messages in one call")
    return items


async def _judged(item: object, desk: Desk) -> Submission | Refused:
    try:
        if isinstance(item, dict) and encoded_chars(item) > THREAD_CHARS:
            return await asyncio.to_thread(submission_of, item, desk)
        return submission_of(item, desk)
    except Refused as refused:
        return refused


def _id_of(item: object) -> str | None:
    given = item.get("id") if isinstance(item, dict) else None
    return given if isinstance(given, str) and given else None


def _rejections(
    items: Sequence[object], outcomes: Sequence[Outcome], desk: Desk
) -> Iterator[Rejection | None]:
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(item, dict) and isinstance(outcome.answer, Refused):
            tenant_id = desk.tenant_id or item.get("tenant_id")
            yield rejection_of(tenant_id, outcome.id, outcome.answer)


def _rejection(client_id: str | None, refused: Refused) -> dict[str, str | None]:
    rejection = {"id": client_id, "reason": refused.reason}
    return {**rejection, "detail": str(refused)} if refused.reason == INVALID else rejection


ROUTES = (
    Route(
        "POST",
        "/commands/add-messages",
        add_messages,
        Access.TENANT,
        "Add up to 1000 messages in one transaction; each is queued or rejected on its own",
        description=ONCE,
        takes_key=True,
        answer=Added,
        body=AddMessages,
        failures={
            400: "Nothing was queued, or more than 1000 messages were given",
            429: "Nothing was queued: the quota is used up, or wrong tokens; see Retry-After",
        },
    ),
)
