"""A call that is made again gets the first answer again.

The key is stored in the transaction that stores the mail, with what was answered: so whoever asks
again, on any node and after any crash, meets either the whole of it or nothing. Of calls that are
made at the same time one goes first and the others wait for it. A call that queued nothing does not
use up its key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.errors import Refused, RelayError, StoreUnavailable
from relay.store.database import Database, Query, Row, Script
from relay.store.queue.accept import Accepted, Arrival, accept
from relay.store.queue.settle import Notify, notify_nobody

CLAIM = """
INSERT INTO idempotency_keys (owner, ingress, key, fingerprint, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (owner, ingress, key) DO NOTHING RETURNING key
"""
FIND = """
SELECT fingerprint, answer FROM idempotency_keys WHERE owner = $1 AND ingress = $2 AND key = $3
"""
ANSWER = """
UPDATE idempotency_keys SET answer = $4 WHERE owner = $1 AND ingress = $2 AND key = $3
"""
GIVE_UP = "DELETE FROM idempotency_keys WHERE owner = $1 AND ingress = $2 AND key = $3"
FORGET = "DELETE FROM idempotency_keys WHERE created_at <= $1"

Name = tuple[str, str, str]
Answers = list[Accepted | Refused]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The call was made before; `answer` is what was answered then."""

    answer: str


@dataclass(frozen=True, slots=True)
class Once:
    """The key of a call. `owner` is a tenant, "" for the admin; `fingerprint` is of all that was
    asked, "" where it may differ.

    `compose` makes the answer to remember, None when nothing was queued. It must be pure: it runs
    inside the transaction.
    """

    owner: str
    ingress: str
    key: str
    fingerprint: str
    compose: Callable[[Answers], str | None]

    @property
    def name(self) -> Name:
        return self.owner, self.ingress, self.key

    def judge(self, fingerprint: str, answer: str) -> "Repeat | Refused":
        """Say what to answer where the key is known already."""
        if fingerprint != self.fingerprint:
            return Refused("this idempotency key was used for another request")
        return Repeat(answer)


@dataclass(frozen=True, slots=True)
class Group:
    """The mails of one call."""

    arrivals: Sequence[Arrival]
    once: Once | None = None


@dataclass(slots=True)
class Ledger:
    """Whose keys the calls of one transaction have: `first` is the call that took a key."""

    first: dict[Name, int] = field(default_factory=dict)
    known: dict[int, Row] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)

    def is_fresh(self, place: int) -> bool:
        return place not in self.known and place not in self.twins


Outcome = Answers | Repeat | RelayError


async def find_first(database: Database, once: Once) -> Repeat | None:
    """Return the answer of an earlier call with this key. Raises Refused where that was another."""
    rows = await database.fetch(FIND, *once.name)
    if not rows:
        return None
    judged = once.judge(rows[0]["fingerprint"], rows[0]["answer"])
    if isinstance(judged, Refused):
        raise judged
    return judged


def accept_groups(
    groups: Sequence[Group], epoch: int, now: float, notify: Notify = notify_nobody
) -> Script[list[Outcome]]:
    """Store the mails of each call whose key is new; one outcome for each call, in order."""
    ledger = yield from claim_keys(groups, now)
    fresh = [place for place in range(len(groups)) if ledger.is_fresh(place)]
    flat = [arrival for place in fresh for arrival in groups[place].arrivals]
    answers = iter((yield from accept(flat, epoch, now, notify)))
    outcomes: dict[int, Outcome] = {
        place: [next(answers) for _ in groups[place].arrivals] for place in fresh
    }
    texts = yield from remember(groups, ledger, outcomes)
    for place, group in enumerate(groups):
        if group.once and place not in outcomes:
            outcomes[place] = repeated(place, group.once, groups, ledger, texts)
    return [outcomes[place] for place in range(len(groups))]


def claim_keys(groups: Sequence[Group], now: float) -> Script[Ledger]:
    """Take the keys that are new, in one order, or two nodes could wait for each other."""
    ledger = Ledger()
    keyed = [(group.once, place) for place, group in enumerate(groups) if group.once]
    for once, place in sorted(keyed, key=lambda pair: (pair[0].name, pair[1])):
        if (yield Query(CLAIM, (*once.name, once.fingerprint, now))):
            ledger.first[once.name] = place
        elif once.name in ledger.first:
            ledger.twins[place] = ledger.first[once.name]
        else:
            rows = yield Query(FIND, once.name)
            ledger.known[place] = rows[0]
    return ledger


def remember(
    groups: Sequence[Group], ledger: Ledger, outcomes: dict[int, Outcome]
) -> Script[dict[int, str]]:
    """Store the answers of the calls that took a key, and return them."""
    texts: dict[int, str] = {}
    for name, place in ledger.first.items():
        once, answers = groups[place].once, outcomes[place]
        text = once.compose(answers) if once and isinstance(answers, list) else None
        if text is None:
            yield Query(GIVE_UP, name)
        else:
            yield Query(ANSWER, (*name, text))
            texts[place] = text
    return texts


def repeated(
    place: int, once: Once, groups: Sequence[Group], ledger: Ledger, texts: dict[int, str]
) -> Repeat | RelayError:
    if place in ledger.known:
        row = ledger.known[place]
        return once.judge(row["fingerprint"], row["answer"])
    first = ledger.twins[place]
    earlier = groups[first].once
    if earlier is None or first not in texts:
        return StoreUnavailable("a call with the same key queued nothing")
    return once.judge(earlier.fingerprint, texts[first])


def forget(created_before: float) -> Script[None]:
    yield Query(FORGET, (created_before,))
