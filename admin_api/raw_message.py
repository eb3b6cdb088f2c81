"""POST /messages/raw: a finished mail (RFC 5322) as the body, its envelope in the query."""

from admin_api.add_messages import Outcome, answer_of, desk_of
from admin_api.drafts import raw_submission
from admin_api.problems import Answer, Problem
from admin_api.routes import Access, Call, Route
from admin_api.schemas.message import Added, RawQuery
from admin_api.services import Services
from relay.errors import Refused
from relay.ingress.accept import Submission

MAIL_TYPES = ("message/rfc822", "message/global")


async def add_raw(services: Services, call: Call) -> Answer:
    query = call.read_query(RawQuery)
    tenant_id = call.caller.tenant(query.tenant_id, place="query")
    call.check_type(*MAIL_TYPES)
    if not call.body:
        raise Problem(422, "the body is empty: a mail is expected")
    try:
        submission = raw_submission(query, tenant_id, call.body, desk_of(services, call))
    except Refused as refused:
        return answer_of([Outcome(query.id, refused)], None)
    return answer_of([await services.uncut.run(accept(services, submission))], None)


async def accept(services: Services, submission: Submission) -> Outcome:
    answers = await services.door.accept_all([submission])
    return Outcome(submission.id, answers[0])


ROUTES = (
    Route(
        "POST",
        "/messages/raw",
        add_raw,
        Access.TENANT,
        "Add a finished mail; only Received, and a missing Date or Message-ID, are put in front",
        answer=Added,
        query=RawQuery,
        body_type=MAIL_TYPES[0],
        failures={400: "The mail was rejected", 415: "The body is no message/rfc822"},
    ),
)
