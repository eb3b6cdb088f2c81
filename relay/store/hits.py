"""Which recipients of a stored mail a bounce speaks of, and what is to be done with each. Pure.

A bounce is believed as far as it could be checked. A signed return address names its recipient,
whatever address the bounce gives (the mail may have been forwarded). Everything else in a bounce
may touch only recipients that the mail really has; where it names nobody, it speaks of the only
recipient there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.formats.address import folded
from relay.formats.bounce.model import Kind, Returned, ReturnedRecipient
from relay.formats.characters import without_forbidden
from relay.model import FINAL_STATES, State

REASON_MAX_CHARS = 1000
GRAVITY: Mapping[Kind, int] = {Kind.NONE: 0, Kind.SOFT: 1, Kind.BLOCK: 2, Kind.HARD: 3}
COMPLAINT = "complaint"


class Effect(StrEnum):
    """What a bounce does to a recipient."""

    BOUNCE = "bounce"
    COMPLAIN = "complain"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Place:
    """One recipient as it is stored; `is_in_doubt`: an upstream may have it though it is not
    final.
    """

    message_pk: str
    n: int
    address: str
    state: State
    attempts: int
    account_id: str | None
    is_in_doubt: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A recipient that a bounce speaks of, and what it says."""

    place: Place
    kind: Kind
    status: str | None
    code: int | None
    reason: str
    text: str
    is_complaint: bool

    @property
    def type(self) -> str:
        return COMPLAINT if self.is_complaint else self.kind.value

    @property
    def effect(self) -> Effect:
        """A bounce comes after `sent`, or before where our own record of that is late or lost."""
        if self.is_complaint:
            return Effect.COMPLAIN
        state = self.place.state
        was_taken = state is State.SENT or (state not in FINAL_STATES and self.place.is_in_doubt)
        return Effect.BOUNCE if was_taken else Effect.NOTHING

    @property
    def suppresses(self) -> bool:
        return self.is_complaint or self.kind is Kind.HARD


def hits(returned: Returned, places: Sequence[Place], alone: int | None) -> list[Hit]:
    """Return whom of one mail's recipients a bounce speaks of; `alone` is the place of the one that
    a signed address names.
    """
    named = named_place(returned, places, alone)
    if named is not None:
        told = told_of(returned, named) or returned.recipients
        return [hit(named, told, returned)]
    addresses = {folded(address) for address in named_by(returned)}
    return [
        hit(place, told_of(returned, place), returned)
        for place in places
        if folded(place.address) in addresses
    ]


def named_place(returned: Returned, places: Sequence[Place], alone: int | None) -> Place | None:
    """Return the one recipient that can be meant, whatever address the bounce gives."""
    named = [place for place in places if place.n == alone]
    if alone is None and len(places) == 1 and not named_by(returned):
        return places[0]
    return named[0] if named else None


def named_by(returned: Returned) -> list[str]:
    """Return the addresses that a bounce names, or that complain."""
    if returned.is_complaint:
        return list(returned.clues.complainants)
    return [r.address for r in returned.recipients if r.address]


def told_of(returned: Returned, place: Place) -> tuple[ReturnedRecipient, ...]:
    wanted = folded(place.address)
    return tuple(r for r in returned.recipients if r.address and folded(r.address) == wanted)


def hit(place: Place, told: Sequence[ReturnedRecipient], returned: Returned) -> Hit:
    worst = max(told, key=lambda r: GRAVITY[r.kind], default=None)
    if worst is None:
        text = returned.reason
        return Hit(place, returned.kind, None, None, returned.reason, text, returned.is_complaint)
    text = without_forbidden(worst.diagnostic).strip() or worst.reason
    return Hit(
        place,
        worst.kind,
        worst.status,
        worst.reply_code,
        worst.reason,
        text[:REASON_MAX_CHARS],
        returned.is_complaint,
    )


def matters(hit: Hit) -> bool:
    return hit.is_complaint or hit.kind is not Kind.NONE
