"""POST /messages/raw: a finished mail (RFC 5322) as the body, its envelope in the query."""

from dataclasses import replace

from admin_api.add_messages import Outcome, answer_of, desk_of, remembered
from admin_api.drafts import raw_submission
from admin_api.idempotency import ONCE, give, keyed, repeat
from admin_api.problems import Answer, Problem
from admin_api.rejections import rejection_of, tell_of
from admin_api.routes import Access, Call, Route
from admin_api.schemas.message import Added, RawQuery
from admin_api.services import Services
from relay.errors import Refused
from relay.store.queue.once import Answers, Repeat

MAIL_TYPES = ("message/rfc822", "message/global")


async def add_raw(services: Services, call: Call) -> Answer:
    query = call.read_query(RawQuery)
    tenant_id = call.caller.tenant(query.tenant_id, place="query")
    call.check_type(*MAIL_TYPES)
    if not call.body:
        raise Problem(422, "the body is empty: a mail is expected")
    key = await keyed(services, call)
    if isinstance(key, Answer):
        return key
    try:
        submission = raw_submission(query, tenant_id, call.body, desk_of(services, call))
    except Refused as refused:
        await tell_of(services.events, [rejection_of(tenant_id, query.id, refused)])
        return answer_of([Outcome(query.id, refused)], None)

    def compose(answers: Answers) -> str | None:
        return remembered([Outcome(submission.id, answers[0])], None)

    giving = give(services, [submission], key and replace(key, compose=compose))
    given = await services.uncut.run(giving)
    if isinstance(given, Repeat):
        return repeat(given)
    verdict = given[0]
    if isinstance(verdict, Refused):
        await tell_of(services.events, [rejection_of(tenant_id, query.id, verdict)])
    return answer_of([Outcome(submission.id, verdict)], None)


ROUTES = (
    Route(
        "POST",
        "/messages/raw",
        add_raw,
        Access.TENANT,
        "Add a finished mail; only Received, and a missing Date or Message-ID, are put in front",
        description=ONCE,
        takes_key=True,
        answer=Added,
        query=RawQuery,
        body_type=MAIL_TYPES[0],
        failures={
            400: "The mail was rejected",
            415: "The body is no message/rfc822",
            429: "The tenant's quota is used up, or too many wrong tokens; see Retry-After",
        },
    ),
)
