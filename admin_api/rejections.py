"""Messages of a call that were not accepted, for the client's next report: a client that reads only
its reports learns of them all the same.
"""

from collections.abc import Iterable

from relay import maillog
from relay.errors import Refused, RelayError
from relay.formats.characters import has_forbidden
from relay.store.events import EventStore, Rejection

ALREADY_SENT = "already sent"
INVALID = "invalid payload"
ID_MAX_CHARS = 255


async def tell_of(store: EventStore, rejections: Iterable[Rejection | None]) -> None:
    """Put rejections into the outbox. The answer to the call tells of them too, so trouble with it
    fails nothing.
    """
    told = [rejection for rejection in rejections if rejection is not None]
    if not told:
        return
    try:
        await store.report_rejections(told)
    except RelayError as error:
        maillog.store_trouble(error)


def rejection_of(tenant_id: object, client_id: str | None, refused: Refused) -> Rejection | None:
    """Return what a client is told of; None where it could not tell which message is meant, and
    for what it sent already, which was told as sent.
    """
    if refused.reason == ALREADY_SENT or not isinstance(tenant_id, str) or client_id is None:
        return None
    if len(client_id) > ID_MAX_CHARS or has_forbidden(client_id):
        return None
    why = f"{refused.reason}: {refused}" if refused.reason == INVALID else refused.reason
    return Rejection(tenant_id, client_id, why)
