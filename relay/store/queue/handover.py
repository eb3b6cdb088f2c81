"""A mail that was stored a moment ago, as a claim would bring it."""

from collections.abc import Iterable

from relay.model import Delivery, NewMail, Pending, Recipient


def delivery_of(mail: NewMail, recipients: Iterable[Recipient], epoch: int) -> Delivery:
    """Return the delivery of a mail to some of its recipients, none of whom was tried yet."""
    return Delivery(
        epoch=epoch,
        pk=mail.pk,
        id=mail.id,
        tenant_id=mail.tenant_id,
        account_id=mail.account_id,
        lane=mail.lane,
        priority=int(mail.priority),
        sender=mail.envelope.sender,
        pending=tuple(Pending(r.n, r.address, 0, 0, r.notify, r.orcpt) for r in recipients),
        traits=mail.traits,
        size_bytes=len(mail.content),
        accepted_at=mail.accepted_at,
        ret=mail.envelope.ret,
        envid=mail.envelope.envid,
        expires_at=mail.expires_at,
        max_attempts=mail.max_attempts,
        on_unknown=mail.on_unknown,
        batch_code=mail.batch_code,
        metadata=mail.metadata,
        keeps_sender=mail.keeps_sender,
        is_prepared=mail.is_prepared,
        content=mail.content,
        ingress=mail.ingress,
    )
