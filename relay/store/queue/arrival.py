"""A mail that is to be stored, and what became of it."""

from dataclasses import replace

from relay.model import NewMail, OnUnknown, State
from relay.store.queue.settle import Notice
from relay.value import frozen


@frozen
class Lease:
    """A mail is to be born leased to this node under the number `claim`, and begun already where
    it is offered as soon as it is stored. `place` is what the dispatcher keeps for it.
    """

    claim: int
    place: object = None
    is_begun: bool = False


@frozen
class Arrival:
    """A mail to store."""

    mail: NewMail
    lease: Lease | None = None


@frozen
class Accepted:
    """What became of it. `pk` is the earlier mail's where that was replaced; `epoch` is the lease
    it was born under; `barred` are the places of the recipients that are not written to, `notice`
    is what tells the sender of them.
    """

    pk: str
    replaced: bool = False
    state: State = State.QUEUED
    epoch: int | None = None
    held_at: float | None = None
    barred: frozenset[int] = frozenset()
    notice: Notice | None = None

    @property
    def handed_over(self) -> bool:
        return self.epoch is not None


def named(mail: NewMail, pk: str) -> NewMail:
    """Return a mail under the pk that it is stored as; its own is in its Received and in other
    fields of ours.
    """
    if pk == mail.pk:
        return mail
    content = mail.content.replace(mail.pk.encode(), pk.encode())
    message_id = mail.message_id and mail.message_id.replace(mail.pk, pk)
    return replace(mail, pk=pk, content=content, message_id=message_id)


def is_retried(mail: NewMail) -> bool:
    """Say whether a mail is offered again if it may have been sent: where not, a death between its
    commit and its offer would end it, so it is begun only when it truly is.
    """
    return mail.on_unknown is OnUnknown.RETRY and mail.max_attempts != 1
