"""What a receipt of certified mail says.

Words are those of the norm (Italian decree of 2 November 2005, technical rules, §6.3 to §6.5 and
§7.4). Nothing here is verified: whether the provider's signature holds is for whoever presents the
receipt as proof.
"""

from dataclasses import dataclass
from enum import StrEnum


class ReceiptKind(StrEnum):
    """The receipts that a provider writes, by their word in `X-Ricevuta` and `daticert.xml`."""

    ACCEPTANCE = "accettazione"
    REFUSAL = "non-accettazione"
    RELAY = "presa-in-carico"
    DELIVERY = "avvenuta-consegna"
    FAILURE = "errore-consegna"
    DELAY = "preavviso-errore-consegna"
    VIRUS = "rilevazione-virus"


class PecEvent(StrEnum):
    """What clients are told."""

    ACCEPTANCE = "pec_acceptance"
    RELAY = "pec_relay"
    DELIVERY = "pec_delivery"
    ERROR = "pec_error"
    TIMEOUT = "pec_timeout"


EVENTS = {
    ReceiptKind.ACCEPTANCE: PecEvent.ACCEPTANCE,
    ReceiptKind.REFUSAL: PecEvent.ERROR,
    ReceiptKind.RELAY: PecEvent.RELAY,
    ReceiptKind.DELIVERY: PecEvent.DELIVERY,
    ReceiptKind.FAILURE: PecEvent.ERROR,
    ReceiptKind.DELAY: PecEvent.ERROR,
    ReceiptKind.VIRUS: PecEvent.ERROR,
}
# After one of these the mail will not arrive. A delay is none: delivery may still follow.
FAILURES = frozenset({ReceiptKind.REFUSAL, ReceiptKind.FAILURE, ReceiptKind.VIRUS})
# These are about the whole message; the others speak of some of its recipients.
ABOUT_ALL = frozenset({ReceiptKind.ACCEPTANCE, ReceiptKind.REFUSAL})


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt. `at` is when it was certified (Unix seconds), None where it does not say.

    `recipients` are those it speaks of, as written there; none means all of the message.
    `message_ids` name the mail it is about, with angle brackets, the surest first; the other ids
    are of headers of ours that the provider left in place. `error` is the norm's word (no-dest,
    no-dominio, virus, altro), None for "nessuno"; `detail` is the provider's text. `own_id` is the
    receipt's own Message-ID, `provider_id` what the provider calls the transmission.
    """

    kind: ReceiptKind
    at: float | None
    message_ids: tuple[str, ...]
    recipients: tuple[str, ...] = ()
    error: str | None = None
    detail: str | None = None
    provider: str | None = None
    provider_id: str | None = None
    own_id: str | None = None
    pillarbox_id: str | None = None
    genro_id: str | None = None

    @property
    def event(self) -> PecEvent:
        return EVENTS[self.kind]

    @property
    def is_failure(self) -> bool:
        return self.kind in FAILURES

    @property
    def is_about_all(self) -> bool:
        return self.kind in ABOUT_ALL
