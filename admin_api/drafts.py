"""From what a client asked for in JSON, or in a query, to what the door takes. Pure: the caller
brings the time.

A mail is refused with the reason of the contract; where that is `invalid payload`, a detail says
what and where. Nothing is repaired or dropped: an address list with one bad address refuses its
mail.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from hashlib import blake2b

from pydantic import ValidationError

from admin_api import strict_json
from admin_api.files import Files, Room, read_files
from admin_api.schemas.message import HeaderValue, Message, RawQuery
from admin_api.schemas.model import HORIZON_S, known_fields
from relay.errors import Refused
from relay.formats.address import Mailbox, mailbox, mailbox_list
from relay.formats.compose import Draft, compose
from relay.formats.headers import crlf, date_of
from relay.ingress.submission import Origin, Submission
from relay.model import Ingress, Priority, Recipient
from relay.value import frozen

MESSAGE_FIELDS = known_fields(Message)
METADATA_MAX_BYTES = 8192

_REQUIRED = ("id", "tenant_id", "from", "to", "subject")
_NOT_LISTED = frozenset({"body", "text", "html", "attachments", "inline"})
_LISTED = MESSAGE_FIELDS - _NOT_LISTED
_PRIORITIES = {str(p.value): p for p in Priority} | {p.name.lower(): p for p in Priority}
_LIST_MARKS = frozenset(',<>"()\t ')

Addresses = str | list[str] | None


@frozen
class Desk:
    """What all mails of one call share. `tenant_id` is the key's own, None for the admin."""

    host_name: str
    max_recipients: int
    now: float
    origin: Origin
    tenant_id: str | None = None
    default_priority: Priority | None = None
    room: Room = field(default_factory=Room)


def submission_of(item: object, desk: Desk) -> Submission:
    """Turn one element of `messages` into a submission. Raises Refused."""
    if not isinstance(item, dict):
        raise Refused("a JSON object is expected")
    if desk.tenant_id is not None and not item.get("tenant_id"):
        item = {**item, "tenant_id": desk.tenant_id}
    for name in _REQUIRED:
        if not item.get(name):
            raise Refused(f"{name} is missing", reason=f"missing {name}")
    try:
        message = Message.model_validate(item)
    except ValidationError as error:
        raise Refused(_described(error)) from None
    return _submission(message, item, desk)


def raw_submission(query: RawQuery, tenant_id: str, content: bytes, desk: Desk) -> Submission:
    """Turn the bytes of a mail and the envelope of a query into a submission. Raises Refused.

    LF line ends become CRLF, as files have them.
    """
    recipients = _recipients([_boxes("to", query.to)], desk.max_recipients)
    return Submission(
        tenant_id=tenant_id,
        sender=_envelope_sender("from", query.sender),
        recipients=recipients,
        content=crlf(content),
        ingress=Ingress.REST,
        origin=desk.origin,
        account_id=query.account_id or None,
        id=query.id,
        priority=priority_of(query.priority, desk.default_priority),
        due_at=_due_at(query.deferred_ts, desk.now),
        expires_in_s=query.expires_in_s,
        max_attempts=query.max_attempts,
        on_unknown=query.on_unknown,
        batch_code=query.batch_code,
        metadata=_given_metadata(query.metadata),
    )


def priority_of(value: int | str | None, default: Priority | None) -> Priority | None:
    """Read a priority as number or label, in any case. Raises Refused."""
    if value is None:
        return default
    found = _PRIORITIES.get(str(value).strip().lower())
    if found is None:
        raise Refused("priority: 0 to 3, immediate, high, medium or low expected")
    return found


def _draft(message: Message, item: Mapping[str, object], desk: Desk, files: Files) -> Draft:
    text, html = _bodies(message)
    return Draft(
        sender=_author(message.sender),
        to=_boxes("to", message.to),
        cc=_boxes("cc", message.cc),
        reply_to=_boxes("reply_to", message.reply_to),
        subject=message.subject,
        message_id=_message_id(message, item, desk),
        date=date_of(int(desk.now)),
        text=text,
        html=html,
        headers=_headers(message.headers),
        inline=files.inline,
        attachments=files.attachments,
    )


def _submission(message: Message, item: Mapping[str, object], desk: Desk) -> Submission:
    files = read_files(message.inline or (), message.attachments or (), desk.room)
    draft = _draft(message, item, desk, files)
    bcc = _boxes("bcc", message.bcc)
    recipients = _recipients([draft.to, draft.cc, bcc], desk.max_recipients)
    composed = compose(draft)
    return Submission(
        tenant_id=str(item["tenant_id"]),
        sender=_sender(message, draft.sender),
        keeps_sender=bool(message.return_path),
        recipients=recipients,
        content=composed.content,
        head=composed.head,
        traits=composed.traits,
        attachments=files.placed(composed.gaps),
        ingress=Ingress.REST,
        origin=desk.origin,
        account_id=message.account_id or None,
        id=message.id,
        priority=priority_of(message.priority, desk.default_priority),
        due_at=_due_at(message.deferred_ts, desk.now),
        expires_in_s=message.expires_in_s,
        max_attempts=message.max_attempts,
        on_unknown=message.on_unknown,
        batch_code=message.batch_code,
        metadata=_metadata(message.metadata),
        record=strict_json.dumps({k: v for k, v in item.items() if k in _LISTED}),
    )


def _sender(message: Message, author: Mailbox) -> str:
    if not message.return_path:
        return author.address
    return _envelope_sender("return_path", message.return_path)


def _described(error: ValidationError) -> str:
    """Name each value that is wrong, and why, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found)


def _author(text: str) -> Mailbox:
    boxes = _mailboxes("from", text)
    if len(boxes) != 1:
        raise Refused("from: one mailbox is expected")
    return boxes[0]


def _envelope_sender(name: str, text: str) -> str:
    bare = text.strip()
    if bare in ("", "<>"):
        return ""
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1]
    try:
        return mailbox(bare, smtputf8=True)
    except Refused as refused:
        raise Refused(f"{name}: {refused}") from None


def _boxes(name: str, value: Addresses) -> tuple[Mailbox, ...]:
    if not value:
        return ()
    if isinstance(value, str):
        return _mailboxes(name, value)
    return tuple([box for element in value for box in _mailboxes(name, element)])


def _mailboxes(name: str, text: str) -> tuple[Mailbox, ...]:
    try:
        # Most are a bare address, and need no list to be read.
        if _LIST_MARKS.isdisjoint(text):
            return (Mailbox("", mailbox(text, smtputf8=True)),)
        return mailbox_list(text)
    except Refused as refused:
        raise Refused(f"{name}: {refused}") from None


def _recipients(groups: Iterable[Iterable[Mailbox]], most: int) -> tuple[Recipient, ...]:
    """Return each address once, in the order given."""
    addresses = dict.fromkeys([box.address for group in groups for box in group])
    if len(addresses) > most:
        raise Refused(f"to: at most {most} recipients are accepted")
    return tuple([Recipient(n, address) for n, address in enumerate(addresses)])


def _bodies(message: Message) -> tuple[str | None, str | None]:
    """Return text and HTML: what is named so goes before `body`."""
    text, html, body = message.text, message.html, message.body
    if message.content_type == "html":
        return text, body if html is None else html
    return body if text is None else text, html


def _headers(given: Mapping[str, HeaderValue] | None) -> tuple[tuple[str, str], ...]:
    if not given:
        return ()
    return tuple((name, str(value)) for name, value in given.items() if value is not None)


def _message_id(message: Message, item: Mapping[str, object], desk: Desk) -> str:
    """Return the one given, else one that no other message of ours has (RFC 5322 §3.6.4)."""
    given = message.message_id
    if given:
        return given if given.startswith("<") else f"<{given}>"
    seed = f"{item['tenant_id']}\0{message.id}\0{desk.now!r}"
    return f"<{blake2b(seed.encode(), digest_size=16).hexdigest()}@{desk.host_name}>"


def _due_at(deferred_ts: float | None, now: float) -> float | None:
    """Return when it is due, None where that has passed already."""
    if deferred_ts is None or deferred_ts <= now:
        return None
    if deferred_ts > now + HORIZON_S:
        raise Refused("deferred_ts: more than a year ahead (it is in seconds)")
    return deferred_ts


def _given_metadata(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        found = strict_json.loads(text.encode())
    except strict_json.InvalidJson as error:
        raise Refused(f"metadata: {error}") from None
    if not isinstance(found, dict):
        raise Refused("metadata: a JSON object is expected")
    return _metadata(found)


def _metadata(value: Mapping[str, object] | None) -> str | None:
    if not value:
        return None
    try:
        text = strict_json.dumps(value)
    except RecursionError:
        raise Refused("metadata: nested too deeply") from None
    if len(text.encode()) > METADATA_MAX_BYTES:
        raise Refused(f"metadata: more than {METADATA_MAX_BYTES} bytes")
    return text
