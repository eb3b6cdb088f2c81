"""Idempotency-Key: a call that is made again gets the first answer again."""

import hashlib
from collections.abc import Sequence

from admin_api.problems import Answer, Problem
from admin_api.routes import Call
from admin_api.services import Services
from relay.ingress.submission import Submission
from relay.model import Ingress
from relay.store.queue.once import Answers, Once, Repeat, find_first

KEY_MAX_CHARS = 255
HEADER = "idempotency-key"
ONCE = (
    "With an `Idempotency-Key` header the call may be repeated: the same key and body get the first"
    " answer again, with the header `Idempotent-Replayed`; another body is 422. Keys are the"
    " caller's own, and are known for two days by default. A call that queued nothing does not use"
    " up its key."
)


async def keyed(services: Services, call: Call) -> Once | Answer | None:
    """Return the key of a call, None where it has none, or the answer that the key got before.

    Raises 422 for a key that cannot be one, and Refused for one that another call had.
    """
    key = call.headers.get(HEADER)
    if key is None:
        return None
    key = key.strip()
    if not 0 < len(key) <= KEY_MAX_CHARS or not key.isascii() or not key.isprintable():
        raise Problem(422, f"Idempotency-Key: 1 to {KEY_MAX_CHARS} visible ASCII characters")
    once = Once(call.caller.tenant_id or "", Ingress.REST.value, key, fingerprint(call), _nothing)
    found = await find_first(services.database, once)
    return once if found is None else repeat(found)


def fingerprint(call: Call) -> str:
    """Return a digest of all that was asked: the query and the body."""
    query = sorted((name, tuple(values)) for name, values in call.query.items())
    return hashlib.sha256(repr(query).encode() + b"\n" + call.body).hexdigest()


async def give(
    services: Services, submissions: Sequence[Submission], once: Once | None
) -> Answers | Repeat:
    """Hand submissions to the door, under a key where there is one."""
    if not submissions:
        return []
    if once is None:
        return await services.door.accept_all(submissions)
    return await services.door.accept_once(submissions, once)


def repeat(first: Repeat) -> Answer:
    return Answer(first.answer.encode(), headers={"Idempotent-Replayed": "true"})


def _nothing(_answers: Answers) -> None:
    return None
