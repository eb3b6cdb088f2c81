"""Mail addresses: SMTP paths (RFC 5321 §4.1.2, RFC 6531 §3.3) and lists (RFC 5322 §3.4).

Strict: what is not understood to its last character is refused, never repaired and never dropped.
Whatever `mailbox` returns can be written between angle brackets as it is, and two spellings of one
address come out equal: the domain in lower case and as A-labels (IDNA2008, no mapping but lower
case), the local part quoted only where it must be. Refused besides bad syntax are the addresses
that ask a relay to route: percent hack, bang path, source route, quoted `@`, address literal.
"""

import re
from collections.abc import Sequence
from typing import NoReturn

import idna

from relay.errors import Refused
from relay.formats.characters import has_forbidden
from relay.value import frozen

LOCAL_MAX_OCTETS = 64  # RFC 5321 §4.5.3.1.1
DOMAIN_MAX_OCTETS = 255  # RFC 5321 §4.5.3.1.2
LABEL_MAX_OCTETS = 63  # RFC 1035 §2.3.4
PATH_MAX_CHARS = 1000
LIST_MAX_CHARS = 65_536

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# A last label of digits only would be an IPv4 address (RFC 3696 §2).
_DOMAIN = rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}"
_ROUTING = frozenset("%!@")

_ARGUMENT = re.compile(rf" *<((?:[^<>\"\\\x00-\x20\x7f]|{_QUOTED})*)>(?: +(.*?) *)?", re.DOTALL)
_PLAIN = re.compile(
    r"([A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*)" rf"@({_DOMAIN})"
)
_PARTS = re.compile(rf"({_QUOTED}|[^\"@]*)@(.*)", re.DOTALL)
_DOT_STRING = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]+(?:\.[{_ATEXT}\u0080-\U0010ffff]+)*")
_ASCII_DOMAIN = re.compile(_DOMAIN)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_PIECE = re.compile(
    rf"(?P<quoted>{_QUOTED})"
    rf"|<(?P<angle>[^<>\"]*(?:{_QUOTED}[^<>\"]*)*)>"
    r"|(?P<space>[ \t]+)"
    r"|(?P<comma>,)"
    r"|(?P<open>\()"
    r"|(?P<word>[^\s\"<>(),:;\\]+)"
)
_COMMENT = re.compile(r"[^()\\]+|\\.|[()]", re.DOTALL)


@frozen
class Mailbox:
    """A display name ("" for none) and a canonical address."""

    name: str
    address: str


def split_path(argument: str) -> tuple[str, str]:
    """Split what follows `MAIL FROM:` or `RCPT TO:` into the path and the parameters after it.

    The path is returned without its angle brackets and is not checked further. Raises Refused.
    """
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        code = "5.1.3" if argument.lstrip(" ").startswith("<") else "5.5.4"
        raise Refused("Syntax: <address> expected", code=501, enhanced=code)
    return found[1], found[2] or ""


def mailbox(path: str, *, smtputf8: bool) -> str:
    """Return the canonical form of an address. The null path is not one. Raises Refused."""
    found = _PLAIN.fullmatch(path) if len(path) <= PATH_MAX_CHARS else None
    if found and len(found[1]) <= LOCAL_MAX_OCTETS and len(found[2]) <= DOMAIN_MAX_OCTETS:
        return f"{found[1]}@{found[2].lower()}"
    return _uncommon(path, smtputf8=smtputf8)


def domain_of(address: str) -> str:
    """Return what follows the last `@`, in lower case; "" for the null sender."""
    return address.rpartition("@")[2].lower()


def folded(address: str) -> str:
    """Return a form in which two spellings of one mailbox are equal, also of what others wrote.

    Case does not count in the local part either: nobody means two mailboxes by two cases.
    """
    try:
        return mailbox(address.strip(), smtputf8=True).lower()
    except Refused:
        return address.strip().lower()


def needs_smtputf8(addresses: str) -> bool:
    return not addresses.isascii()


def sender_allowed(address: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of `*`, `*@acme.example`, `*@*.acme.example` or an exact address covers it.

    `*@*.acme.example` covers the domains under acme.example, not itself. Case never counts, also
    in the local part: this is a question of rights, and nobody means two mailboxes by two cases.
    Only `*` covers the null sender.
    """
    local, _, domain = address.lower().rpartition("@")
    return any(pattern == "*" or _covers(pattern, local, domain) for pattern in patterns)


def mailbox_list(text: str) -> tuple[Mailbox, ...]:
    """Read `Name <a@b.c>, d@e.f (Name)`: a field of the REST API or an unfolded, undecoded From.

    Encoded words in names stay as they are: decoded first, a comma in one would split it. Groups
    and empty elements are refused. Raises Refused.
    """
    if len(text) > LIST_MAX_CHARS:
        _bad_syntax("the address list is too long")
    if has_forbidden(text):
        _bad_syntax("control character in an address list")
    return tuple(_element(pieces) for pieces in _elements(text))


def _bad_syntax(what: str) -> NoReturn:
    raise Refused(f"Bad address syntax: {what}", code=553, enhanced="5.1.3")


def _no_routing(what: str) -> NoReturn:
    raise Refused(f"Relay routing denied: {what}", code=550, enhanced="5.7.1")


def _uncommon(path: str, *, smtputf8: bool) -> str:
    if len(path) > PATH_MAX_CHARS:
        _bad_syntax("too long")
    if not path.isprintable():
        _bad_syntax("control character")
    if not path.isascii() and not smtputf8:
        raise Refused("Address needs SMTPUTF8", code=550, enhanced="5.6.7")
    if path.startswith("@"):
        _bad_syntax("source routes are not accepted")
    found = _PARTS.fullmatch(path)
    if found is None:
        _bad_syntax("local@domain expected")
    return f"{_local_part(found[1])}@{_domain(found[2])}"


def _local_part(text: str) -> str:
    is_quoted = text.startswith('"')
    content = _QUOTED_PAIR.sub(r"\1", text[1:-1]) if is_quoted else text
    if not content:
        _bad_syntax("the local part is empty")
    if "\ufffd" in content:
        _bad_syntax("a character of it was lost on its way here")
    if not is_quoted and not _DOT_STRING.fullmatch(content):
        _bad_syntax("character that must be quoted in the local part")
    if not _ROUTING.isdisjoint(content):
        _no_routing("% ! @ in the local part")
    canonical = content if _DOT_STRING.fullmatch(content) else quoted(content)
    if len(canonical.encode()) > LOCAL_MAX_OCTETS:
        _bad_syntax("the local part has more than 64 octets")
    return canonical


def quoted(text: str) -> str:
    """Return it as a quoted-string (RFC 5322 §3.2.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _domain(text: str) -> str:
    if text.startswith("["):
        _no_routing("address literals are not accepted")
    if len(text) > DOMAIN_MAX_OCTETS:
        _bad_syntax("the domain has more than 255 octets")
    domain = ".".join(_a_label(label) for label in text.lower().split("."))
    if len(domain) > DOMAIN_MAX_OCTETS or not _ASCII_DOMAIN.fullmatch(domain):
        _bad_syntax("the domain is not valid")
    return domain


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    if len(label) > LABEL_MAX_OCTETS:
        _bad_syntax("a label of the domain has more than 63 octets")
    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        _bad_syntax("the domain is not valid in IDNA2008")


def _covers(pattern: str, local: str, domain: str) -> bool:
    wanted_local, _, wanted = pattern.lower().rpartition("@")
    if wanted_local not in ("*", local) or not domain:
        return False
    under = wanted.startswith("*.")
    wanted = _canonical_domain(wanted.removeprefix("*."))
    return domain.endswith(f".{wanted}") if under else domain == wanted


def _canonical_domain(text: str) -> str:
    return text if text.isascii() else _domain(text)


@frozen
class _Piece:
    kind: str
    text: str


def _elements(text: str) -> list[list[_Piece]]:
    """Cut at the commas that stand outside quotes, comments and angle brackets."""
    elements: list[list[_Piece]] = [[]]
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            _bad_syntax(f"unexpected {text[at]!r} at {at + 1}")
        kind = found.lastgroup or ""
        at = found.end()
        if kind == "comma":
            elements.append([])
        elif kind == "open":
            comment, at = _comment(text, at)
            elements[-1].append(_Piece("comment", comment))
        else:
            elements[-1].append(_Piece(kind, found[kind]))
    return elements


def _comment(text: str, start: int) -> tuple[str, int]:
    """Return the comment that was opened before `start`, and where it ends. Comments nest."""
    depth = 1
    at = start
    while found := _COMMENT.match(text, at):
        at = found.end()
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return _QUOTED_PAIR.sub(r"\1", text[start : at - 1]), at
    _bad_syntax("comment without an end")


def _element(pieces: list[_Piece]) -> Mailbox:
    angles = [at for at, piece in enumerate(pieces) if piece.kind == "angle"]
    comment = " ".join(piece.text for piece in pieces if piece.kind == "comment")
    if not angles:
        bare = "".join(piece.text for piece in pieces if piece.kind != "comment").strip(" \t")
        if not bare:
            _bad_syntax("an element of the list is empty")
        return Mailbox(comment, mailbox(bare, smtputf8=True))
    first = angles[0]
    if any(piece.kind not in ("space", "comment") for piece in pieces[first + 1 :]):
        _bad_syntax("text after <address>; is a comma missing?")
    address = mailbox(pieces[first].text.strip(" \t"), smtputf8=True)
    return Mailbox(_phrase(pieces[:first], address) or comment, address)


def _phrase(pieces: list[_Piece], address: str) -> str:
    """Join the name. An unquoted `@` in it is a comma forgotten, or the address itself."""
    words = [piece for piece in pieces if piece.kind != "comment"]
    name = "".join(_word(piece) for piece in words).strip(" \t")
    unquoted = any(piece.kind == "word" and "@" in piece.text for piece in words)
    if unquoted and name.lower() != address.lower():
        _bad_syntax("@ in a display name that is not quoted; is a comma missing?")
    return name


def _word(piece: _Piece) -> str:
    if piece.kind == "quoted":
        return _QUOTED_PAIR.sub(r"\1", piece.text[1:-1])
    return " " if piece.kind == "space" else piece.text
