"""GET /messages/{id}/receipts and below: receipts of certified mail (PEC), as proof.

They are kept longer than their message, so they are found though it be gone.
"""

from admin_api.problems import Answer, not_found
from admin_api.records import receipt_record
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.message import ContentQuery
from admin_api.schemas.model import OfTenant
from admin_api.schemas.receipt import Receipts
from admin_api.services import Services

_SOMETIMES = frozenset({"warnings"})
_NUMBER_MAX_DIGITS = 9


async def list_receipts(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    pk = await message_pk(services, query.tenant_id, call.path["id"])
    views = await services.receipts.of(query.tenant_id, pk)
    return Answer(shown(Receipts(receipts=[receipt_record(v) for v in views]), omit=_SOMETIMES))


async def download_receipt(services: Services, call: Call) -> Answer:
    tenant_id = call.caller.tenant(call.read_query(ContentQuery).tenant_id, place="query")
    pk = await message_pk(services, tenant_id, call.path["id"])
    number = call.path["n"]
    is_number = number.isascii() and number.isdigit() and len(number) <= _NUMBER_MAX_DIGITS
    body = await services.receipts.body(tenant_id, pk, int(number)) if is_number else None
    if body is None:
        raise not_found("receipt")
    return Answer(body, content_type="message/rfc822")


async def message_pk(services: Services, tenant_id: str, key: str) -> str:
    """Find a message, or what is left of it. Raises 404."""
    view = await services.messages.find(tenant_id, key)
    pk = view.pk if view else await services.receipts.latest_pk(tenant_id, key)
    if pk is None:
        raise not_found("message")
    return pk


ROUTES = (
    Route(
        "GET",
        "/messages/{id}/receipts",
        list_receipts,
        Access.TENANT,
        "The receipts of certified mail (PEC) that came for a message, which may be gone",
        answer=Receipts,
        query=OfTenant,
        failures={404: "No such message of this tenant, and no receipt of one that was"},
    ),
    Route(
        "GET",
        "/messages/{id}/receipts/{n}",
        download_receipt,
        Access.TENANT,
        "A receipt byte for byte as it came, with the provider's signature",
        description="The signature was not verified by the relay: whoever relies on the receipt"
        " verifies it, as with `openssl cms -verify`.",
        query=ContentQuery,
        answer_type="message/rfc822",
        failures={404: "No such message of this tenant, or no such receipt"},
    ),
)
