"""A message of the REST API as the bytes of a mail (RFC 5322, RFC 2045-2047, RFC 2231, RFC 6532).

Written by hand, not by `email`: ten times faster, and every octet of the header is ours to check.
ASCII travels readable. Bcc is never written. Values are checked here again, and the finished
header is counted: a field more than was asked for means that something broke out of its line, and
refuses the mail.

A file whose bytes are still to come is left out, and its place is told as a distance from the end:
that stays true when fields are put in front. `insertion` puts it in.
"""

import binascii
import re
from hashlib import blake2b
from typing import NoReturn
from urllib.parse import quote

from relay.errors import ContentRefused, Refused
from relay.formats.address import Mailbox, needs_smtputf8, quoted
from relay.formats.fields import (
    LONGEST_BARE_OCTETS,
    Run,
    check_headers,
    check_value,
    encode_text,
    fold,
)
from relay.formats.headers import Head, decode_words, scan
from relay.formats.headers.lines import LINE_MAX_OCTETS, longest_line
from relay.model import ContentTraits
from relay.value import frozen

_HEAD_MAX_BYTES = 8 * 1024 * 1024  # ours: a thousand recipients in To are legitimate
FILENAME_MAX_OCTETS = 255
_BASE64_LINE = 76
_BASE64_BLOCK_BYTES = 57 * 1024  # whole lines
_MIME_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_MSG_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,900}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


@frozen
class Attachment:
    """`content_id` has no angle brackets; `data` is None while it is still to come."""

    filename: str
    mime_type: str
    data: bytes | None
    content_id: str | None = None


@frozen
class Draft:
    """A mail to be written. `message_id` has its angle brackets, `date` is RFC 5322 §3.3."""

    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    message_id: str
    date: str
    text: str | None = None
    html: str | None = None
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    inline: tuple[Attachment, ...] = ()


@frozen
class Gap:
    """Where a file is missing: so many bytes follow its place. `n` counts the inline files first,
    then the attachments.
    """

    n: int
    from_end_bytes: int


@frozen
class Composed:
    """A mail, and what it lacks in the order of its places. `head` and `traits` are what another
    look at its bytes would tell, so that nobody need look again.
    """

    content: bytes
    head: Head
    traits: ContentTraits
    gaps: tuple[Gap, ...] = ()


@frozen
class _Entity:
    """A part of the body: its header fields, without line ends, and its content; None is missing
    as a whole. `gaps` count from the end of the content.
    """

    fields: tuple[bytes, ...]
    body: bytes | None
    gaps: tuple[Gap, ...] = ()
    n: int = 0


def compose(draft: Draft) -> Composed:
    """Return the mail, its lines ended by CRLF. Raises Refused with a text that names the field."""
    if draft.headers:
        check_headers(draft.headers)
    body = _body(draft)
    fields = [*_head_fields(draft), b"MIME-Version: 1.0", *body.fields, b""]
    block = b"\r\n".join(fields)
    head = _verified(block, len(fields) - 1)
    return Composed(
        b"".join((block, b"\r\n", body.body or b"")), head, _traits_of(block), body.gaps
    )


def _verified(block: bytes, expected: int) -> Head:
    found = scan(block, max_bytes=_HEAD_MAX_BYTES)
    is_whole = found.size_bytes == len(block) and len(found.fields) == expected
    if not is_whole or b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
        raise ContentRefused("The header cannot be written", code=554, enhanced="5.6.0")
    return found


def _traits_of(block: bytes) -> ContentTraits:
    """Only the header may have more than ASCII, and no line is longer than it should be."""
    is_utf8 = not block.isascii()
    return ContentTraits(is_utf8, is_utf8, longest_line=LINE_MAX_OCTETS)


def _refuse(name: str, what: str) -> NoReturn:
    raise Refused(f"{name}: {what}", code=550, enhanced="5.6.0")


def _head_fields(draft: Draft) -> list[bytes]:
    mailboxes = (draft.sender, *draft.to, *draft.cc, *draft.reply_to)
    raw_utf8 = needs_smtputf8("".join([box.address for box in mailboxes]))
    fields = [_addresses("From", (draft.sender,), raw_utf8=raw_utf8)]
    for name, boxes in (("To", draft.to), ("Cc", draft.cc), ("Reply-To", draft.reply_to)):
        if boxes:
            fields.append(_addresses(name, boxes, raw_utf8=raw_utf8))
    if not _MSG_ID.fullmatch(draft.message_id):
        _refuse("message_id", "<left@right> expected")
    plain = (("Subject", draft.subject), ("Date", draft.date), ("Message-ID", draft.message_id))
    return fields + [_text(*field, raw_utf8=raw_utf8) for field in (*plain, *draft.headers)]


def _text(name: str, value: str, *, raw_utf8: bool) -> bytes:
    check_value(name, value)
    return f"{name}: ".encode() + encode_text(value, len(name) + 2, raw_utf8=raw_utf8)


def _addresses(name: str, boxes: tuple[Mailbox, ...], *, raw_utf8: bool) -> bytes:
    if len(boxes) == 1 and not boxes[0].name:
        # As most are. A line begins with it, so it is not folded.
        check_value(name, boxes[0].address)
        return f"{name}: {boxes[0].address}".encode()
    runs: list[Run] = []
    for n, box in enumerate(boxes, 1):
        check_value(name, box.name)
        check_value(name, box.address)
        runs += _mailbox_runs(box, "," if n < len(boxes) else "", raw_utf8=raw_utf8)
    return f"{name}:".encode() + fold(runs, len(name) + 1)


def _mailbox_runs(box: Mailbox, comma: str, *, raw_utf8: bool) -> list[Run]:
    if not box.name:
        return [Run(" ", box.address + comma)]
    # Encoded words mean nothing inside quotes (RFC 2047 §5): a name that came so is encoded anew.
    name = decode_words(box.name)
    address = Run(" ", f"<{box.address}>{comma}")
    if len(quoted(name).encode()) > LONGEST_BARE_OCTETS or not (raw_utf8 or name.isascii()):
        return [Run(" ", name, is_encoded=True), address]
    return [Run(" ", name if _ATOMS.fullmatch(name) else quoted(name)), address]


def _body(draft: Draft) -> _Entity:
    entity = _written_text(draft)
    if draft.inline:
        files = [_file(file, "inline", n) for n, file in enumerate(draft.inline)]
        entity = _multipart("related", [entity, *files], draft.message_id)
    if draft.attachments:
        first = len(draft.inline)
        files = [_file(file, "attachment", n) for n, file in enumerate(draft.attachments, first)]
        entity = _multipart("mixed", [entity, *files], draft.message_id)
    return entity


def _written_text(draft: Draft) -> _Entity:
    texts = [
        _text_part(subtype, text)
        for subtype, text in (("plain", draft.text), ("html", draft.html))
        if text is not None
    ]
    if len(texts) > 1:
        return _multipart("alternative", texts, draft.message_id)
    return texts[0] if texts else _text_part("plain", "")


def _text_part(subtype: str, text: str) -> _Entity:
    name = "html" if subtype == "html" else "text"
    if "\0" in text:
        raise ContentRefused(f"{name}: NUL is not accepted")
    try:
        encoding, body = _encoded(_with_crlf(text))
    except UnicodeEncodeError:
        _refuse(name, "lone surrogate")
    kind = f'Content-Type: text/{subtype}; charset="utf-8"'.encode()
    return _Entity((kind, b"Content-Transfer-Encoding: " + encoding), body)


def _with_crlf(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n")


def _encoded(text: str) -> tuple[bytes, bytes]:
    """Choose the most readable encoding (RFC 2045 §6): 7bit, quoted-printable, base64."""
    data = text.encode()
    if len(data) == len(text) and longest_line(data) <= LINE_MAX_OCTETS:
        return b"7bit", data if data.endswith(b"\r\n") else data + b"\r\n"
    if len(text.encode("ascii", "ignore")) * 3 >= len(text) * 2:
        return b"quoted-printable", quoted_printable(data)
    return b"base64", base64_lines(data)


def quoted_printable(data: bytes) -> bytes:
    """Return it in quoted-printable (RFC 2045 §6.7), its lines ended by CRLF as before."""
    # binascii takes its soft line ends from the first hard one, so it gets LF only.
    return binascii.b2a_qp(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def base64_lines(data: bytes) -> bytes:
    """Return it in base64, in lines of 76 (RFC 2045 §6.8), each with its CRLF."""
    # In blocks: a line is an object, and all of a big file's together outweigh the file.
    blocks = range(0, len(data), _BASE64_BLOCK_BYTES)
    return b"".join([_base64_block(data[at : at + _BASE64_BLOCK_BYTES]) for at in blocks])


def _base64_block(data: bytes) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    lines = [encoded[at : at + _BASE64_LINE] for at in range(0, len(encoded), _BASE64_LINE)]
    return b"\r\n".join([*lines, b""])


def _file(file: Attachment, disposition: str, n: int) -> _Entity:
    body = None if file.data is None else base64_lines(file.data)
    return _Entity(file_fields(file, disposition), body, n=n)


def file_fields(file: Attachment, disposition: str) -> tuple[bytes, ...]:
    """Return the header fields of a file's part, without line ends. Raises Refused."""
    check_value("filename", file.filename)
    if not _MIME_TYPE.fullmatch(file.mime_type):
        _refuse("mime_type", "type/subtype expected")
    kind = file.mime_type.lower()
    # RFC 2046 §5.1, §5.2.1: these may not be in base64, which a file of any bytes needs.
    if kind.startswith(("message/", "multipart/")):
        kind = "application/octet-stream"
    fields = [
        f"Content-Type: {kind}".encode(),
        b"Content-Transfer-Encoding: base64",
        f"Content-Disposition: {disposition};\r\n {_filename(file.filename)}".encode(),
    ]
    if file.content_id is not None:
        if not _CONTENT_ID.fullmatch(file.content_id):
            _refuse("content_id", "printable ASCII without < > expected")
        # Some readers decode words wherever they are.
        check_value("content_id", file.content_id)
        fields.append(f"Content-ID: <{file.content_id}>".encode())
    return tuple(fields)


def _filename(name: str) -> str:
    if len(name.encode()) > FILENAME_MAX_OCTETS:
        _refuse("filename", f"is longer than {FILENAME_MAX_OCTETS} octets")
    if name.isascii():
        return f"filename={quoted(name)}"
    return f"filename*=utf-8''{quote(name, safe='')}"  # RFC 2231 §4


def _multipart(subtype: str, parts: list[_Entity], seed: str) -> _Entity:
    wires = [part_wire(part.fields, part.body) for part in parts if part.body is not None]
    digest = blake2b(seed.encode(), digest_size=15)
    for wire in wires:
        digest.update(wire)
    # A digest of all that it parts cannot be found inside of it; nor in what is inserted later,
    # where no line starts with a hyphen.
    boundary = f"=_{digest.hexdigest()}"
    delimiter = f"--{boundary}".encode()
    body = b"".join([b"%b\r\n%b\r\n" % (delimiter, wire) for wire in wires])
    kind = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"'.encode()
    gaps = _gaps(parts, len(delimiter))
    return _Entity((kind,), body + delimiter + b"--\r\n", gaps)


def part_wire(fields: tuple[bytes, ...], body: bytes) -> bytes:
    return b"\r\n".join((*fields, b"", body))


def _gaps(parts: list[_Entity], delimiter_bytes: int) -> tuple[Gap, ...]:
    """Find the places of what is missing in a multipart, whose last line is delimiter, --, CRLF."""
    gaps: list[Gap] = []
    after = delimiter_bytes + 4
    for part in reversed(parts):
        if part.body is None:
            gaps.append(Gap(part.n, after))
            continue
        after += 2
        gaps += [Gap(g.n, g.from_end_bytes + after) for g in reversed(part.gaps)]
        fields_bytes = sum(len(field) + 2 for field in part.fields)
        after += delimiter_bytes + 2 + fields_bytes + 2 + len(part.body)
    return tuple(reversed(gaps))
