"""Reading a receipt of certified mail: its header says what it is, `daticert.xml` certifies it.

Where the two differ the certified data wins. A mail that certified mail was transported in
(`X-Trasporto: posta-certificata`), or one that came from outside (`X-Trasporto: errore`), is no
receipt, whatever it holds: anybody may send it.
"""

from email.utils import parsedate_to_datetime

from relay.errors import ContentRefused
from relay.formats.characters import without_forbidden
from relay.formats.headers.head import Head, scan
from relay.formats.pec.daticert import FILE_NAME, Certified, NotCertified, read_daticert
from relay.formats.pec.model import ABOUT_ALL, Receipt, ReceiptKind
from relay.formats.pec.parts import leaves

# Of a larger mail the beginning is read: what is certified stands before the original mail.
MAX_BYTES = 32 * 1024 * 1024
ENCODED_MAX_BYTES = 2 * 1024 * 1024
ID_MAX_CHARS = 998
ERROR_MAX_CHARS = 40
DATE_MAX_CHARS = 100

# Not of the norm, but the words of its title ("avviso di mancata consegna"), and met.
KINDS = {kind.value: kind for kind in ReceiptKind} | {"mancata-consegna": ReceiptKind.FAILURE}


def read_receipt(raw: bytes) -> Receipt | None:
    """Return what a receipt says; None for any other mail. Nothing makes it raise."""
    raw = raw[:MAX_BYTES]
    try:
        head = scan(raw)
    except ContentRefused:
        return None
    if head.has("X-Trasporto"):
        return None
    announced = announced_kind(head)
    certified = find_certified(raw)
    if certified is None:
        return None if announced is None else uncertified(head, announced)
    # Of a kind that we do not know, the header may still know it; transported mail is none.
    kind = KINDS.get(word(certified.kind))
    if kind is None and word(certified.kind) != "posta-certificata":
        kind = announced
    return None if kind is None else receipt_of(head, certified, kind)


def word(text: str) -> str:
    """Return a word of the norm as the norm writes it."""
    return text.strip().lower().replace(" ", "-").replace("_", "-")


def announced_kind(head: Head) -> ReceiptKind | None:
    """Return what the header says; None when it says nothing known, or two things."""
    words = {word(value) for value in head.all("X-Ricevuta")}
    return KINDS.get(words.pop()) if len(words) == 1 else None


def find_certified(raw: bytes) -> Certified | None:
    for part in leaves(raw):
        if part.is_named(FILE_NAME) and len(part.content) <= ENCODED_MAX_BYTES:
            try:
                return read_daticert(part.decoded())
            except NotCertified:
                continue
    return None


def uncertified(head: Head, kind: ReceiptKind) -> Receipt:
    return Receipt(
        kind=kind,
        at=date_of(head),
        message_ids=ids(head.first("X-Riferimento-Message-ID")),
        error=security_error(head),
        own_id=first_id(head, "Message-ID"),
        pillarbox_id=text_of(head, "X-Pillarbox-ID"),
        genro_id=text_of(head, "X-Genro-Mail-ID"),
    )


def receipt_of(head: Head, certified: Certified, kind: ReceiptKind) -> Receipt:
    error = word(certified.error)[:ERROR_MAX_CHARS]
    return Receipt(
        kind=kind,
        at=date_of(head) if certified.at is None else certified.at,
        message_ids=ids(certified.message_id, head.first("X-Riferimento-Message-ID")),
        recipients=recipients_of(certified, kind),
        error=security_error(head) if error in ("", "nessuno") else error,
        detail=certified.detail,
        provider=certified.provider,
        provider_id=certified.provider_id,
        own_id=first_id(head, "Message-ID"),
        pillarbox_id=text_of(head, "X-Pillarbox-ID"),
        genro_id=text_of(head, "X-Genro-Mail-ID"),
    )


def recipients_of(certified: Certified, kind: ReceiptKind) -> tuple[str, ...]:
    """Return the addresses that a receipt speaks of; what is no address names nobody."""
    reached = () if kind in ABOUT_ALL else certified.reached
    return tuple(address for address in reached or certified.recipients if "@" in address)


def security_error(head: Head) -> str | None:
    """Return "virus" for mail that the provider's check stopped (technical rules, §6.3.3)."""
    said = head.first("X-VerificaSicurezza") or ""
    return "virus" if word(said) == "errore" else None


def ids(*given: str | None) -> tuple[str, ...]:
    """Return Message-IDs as they are stored: no white space, in angle brackets, each once."""
    bare = ("".join(without_forbidden(text).split()).strip("<>") for text in given if text)
    return tuple(dict.fromkeys(f"<{text}>" for text in bare if 0 < len(text) <= ID_MAX_CHARS))


def first_id(head: Head, name: str) -> str | None:
    return next(iter(ids(head.first(name))), None)


def text_of(head: Head, name: str) -> str | None:
    return without_forbidden(head.first(name) or "")[:ID_MAX_CHARS].strip() or None


def date_of(head: Head) -> float | None:
    try:
        return parsedate_to_datetime((head.first("Date") or "")[:DATE_MAX_CHARS]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
