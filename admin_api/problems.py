"""How a request fails: a status, a `detail` for the client, and for our own trouble when to come
back.

Clients get what is wrong and where, never internals; those are in the log.
"""

from collections.abc import Mapping
from dataclasses import field

from relay.errors import (
    CommitInDoubt,
    DataRejected,
    NotFound,
    Permanent,
    QuotaExceeded,
    Refused,
    RelayError,
    ShuttingDown,
    StoreFull,
    Temporary,
)
from relay.value import frozen

RETRY_AFTER_S = 5
TAKEN = "username taken"


@frozen
class Answer:
    """What is sent back; `body` is made into JSON unless it is bytes."""

    body: object
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Permanent):
    """An answer other than success. `detail` is JSON: a text, a list of what is invalid, or an
    object.
    """

    def __init__(
        self, status: int, detail: object, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(str(detail))
        self.answer = Answer({"detail": detail}, status, headers=headers or {})


def unauthorized(detail: str = "Invalid or missing API token") -> Problem:
    return Problem(401, detail, {"WWW-Authenticate": "Bearer"})


def not_found(what: str) -> Problem:
    return Problem(404, f"{what} not found")


def invalid(place: str, what: str, *path: str | int) -> Problem:
    """Say that one value of the `body` or the `query` is wrong, in the shape of all the 422s."""
    return Problem(422, [{"loc": [place, *path], "msg": what, "type": "value_error"}])


def answer_to(error: RelayError) -> Answer | None:
    """Return what a client is told of an error of ours; None for one that it cannot have caused or
    helped.
    """
    if isinstance(error, Refused):
        return Answer({"detail": str(error)}, 409 if error.reason == TAKEN else 422)
    if isinstance(error, DataRejected):
        return Answer({"detail": "a value cannot be stored"}, 422)
    if isinstance(error, NotFound):
        return Answer({"detail": "not found"}, 404)
    return trouble(error) if isinstance(error, Temporary) else None


def trouble(error: Temporary) -> Answer:
    if isinstance(error, StoreFull):
        return again(507, "no space left for mail")
    if isinstance(error, CommitInDoubt):
        return again(503, "temporarily unavailable: perhaps taken, else try again later")
    if isinstance(error, QuotaExceeded):
        return again(429, "too much mail is waiting")
    if isinstance(error, ShuttingDown):
        return again(503, "this node takes no mail now")
    return again(503, "temporarily unavailable")


def again(status: int, detail: str) -> Answer:
    return Answer({"detail": detail}, status, headers={"Retry-After": str(RETRY_AFTER_S)})
