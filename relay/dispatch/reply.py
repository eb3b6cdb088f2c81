"""What an upstream answers, and what its answers mean for each recipient.

`ReplyParser` turns bytes into replies (RFC 5321 §4.2) and holds a bounded amount of them. `Ledger`
follows one transaction: it hears the replies in their order and knows of each recipient what was
said first. Verdicts follow from reply code and phase, never from words in a text.

Pure: no clock and no I/O.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

from relay.model import Outcome, Pending, Verdict
from relay.value import frozen

Phase = Literal["mail", "rcpt", "data", "dot"]

LINE_BYTES = 8 * 1024
REPLY_BYTES = 32 * 1024
REPLY_LINES = 100
TEXT_LENGTH = 1_000
KNOWN_BYTES = 1_024

_SETTLED = (Verdict.SENT, Verdict.FAILED)
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
# A whole reply, as nearly all are.
_ONE_LINE = re.compile(rb"([2-5][0-9]{2})(?: ([^\n]*))?\r?\n")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


class ProtocolError(Exception):
    """What came is no SMTP reply, or more than anybody has to listen to."""


@frozen
class Reply:
    """`text` is printable and cut; lines are joined by a space, an enhanced code stays in it."""

    code: int
    enhanced: str | None
    text: str


class ReplyParser:
    """Takes bytes as they arrive. A bare LF ends a line too: everybody understands such servers.

    `is_empty` is true between two replies.
    """

    def __init__(self) -> None:
        self.is_empty = True
        self._buffer = bytearray()
        self._code = b""
        self._lines: list[bytes] = []
        self._size_bytes = 0

    def feed(self, data: bytes) -> Iterable[Reply]:
        """Return each reply that is complete; raise ProtocolError at the place where sense ends."""
        if self.is_empty and len(data) <= KNOWN_BYTES:
            alone = _ONE_LINE.fullmatch(data)
            if alone is not None:
                return (_reply(*alone.groups(b"")),)
            whole = _whole(data)
            if whole is not None:
                return whole
        return self._read(data)

    def _read(self, data: bytes) -> Iterator[Reply]:
        self.is_empty = False
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if self._add(line):
                yield self._finish()
        _require(len(self._buffer) <= LINE_BYTES, "reply line too long")
        self.is_empty = not self._buffer and not self._lines

    def _add(self, line: bytes) -> bool:
        """Take one line; True where it is the last of its reply."""
        self._size_bytes += len(line)
        if self._size_bytes > LINE_BYTES or self._lines:
            self._check_bounds(line)
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("malformed reply: " + printable(_text(line)))
        code, separator, words = match.groups()
        # RFC 5321 §4.2.1: the code is the same on every line; else no one can say which is meant.
        if self._lines and code != self._code:
            raise ProtocolError("reply of several codes")
        self._code = code
        self._lines.append(words or b"")
        return bool(separator != b"-")

    def _check_bounds(self, line: bytes) -> None:
        _require(len(line) <= LINE_BYTES, "reply line too long")
        _require(self._size_bytes <= REPLY_BYTES, "reply too long")
        _require(len(self._lines) < REPLY_LINES, "reply of too many lines")

    def _finish(self) -> Reply:
        reply = _reply(self._code, b" ".join(self._lines))
        self._lines = []
        self._size_bytes = 0
        return reply


# An upstream says the same to each mail, but for the last word.
@lru_cache(maxsize=64)
def _whole(data: bytes) -> tuple[Reply, ...] | None:
    """Read what came in one piece; None where that is not all of its replies, or makes no sense."""
    parser = ReplyParser()
    try:
        replies = tuple(parser._read(data))
    except ProtocolError:
        return None
    return replies if parser.is_empty else None


@lru_cache(maxsize=64)
def _reply(digits: bytes, words: bytes) -> Reply:
    code, text = int(digits), _text(words)
    return Reply(code, _enhanced(code, text), printable(text))


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise ProtocolError(complaint)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").strip()


def _enhanced(code: int, text: str) -> str | None:
    """Return the RFC 3463 code that opens the text, if of the reply's own class (RFC 2034 §4)."""
    match = _ENHANCED.match(text)
    return match[0] if match is not None and text[0] == str(code)[0] else None


def printable(text: str) -> str:
    """Return the text fit for a log and a tenant: printable only, at most 1,000 characters."""
    cut = text[:TEXT_LENGTH]
    if cut.isprintable():
        return cut
    escaped = (char if char.isprintable() else _escape(char) for char in cut)
    return "".join(escaped)[:TEXT_LENGTH]


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def verdict(code: int, phase: Phase) -> Verdict:
    """Decide by class of code and phase.

    A 2xx means taken only where it answers the final dot (RFC 5321 §4.2.5). The odd is deferred.
    """
    if 500 <= code <= 599:
        return Verdict.FAILED
    if phase == "dot" and 200 <= code <= 299:
        return Verdict.SENT
    return Verdict.DEFERRED


def next_portion(outcomes: Iterable[Outcome]) -> set[int]:
    """Return the `n` of those that had no room in this transaction: offer them again at once.

    RFC 5321 §4.5.3.1.10: 452 to RCPT may mean "too many recipients", which says nothing about the
    recipient. It is read so only where this transaction settled somebody; else the next one would
    run into the same wall.
    """
    without_room: set[int] = set()
    is_anyone_settled = False
    for outcome in outcomes:
        if outcome.verdict in _SETTLED:
            is_anyone_settled = True
        elif outcome.code == 452 and _had_no_room(outcome):
            without_room.add(outcome.n)
    return without_room if is_anyone_settled else set()


def _had_no_room(outcome: Outcome) -> bool:
    return outcome.phase == "rcpt" and outcome.enhanced in (None, "4.5.3")


class Ledger:
    """One transaction: give it every reply in order, ask it what is known.

    The first word about a recipient counts: a 550 to RCPT stays, whatever DATA or the connection
    does later. `granted`: the upstream answered 354 and waits for the mail. `dot_written` is set by
    the writer: from then on the upstream may have taken the mail. `in_step` is false once a reply
    made no sense at its place, or was 421: the connection is of no more use. `turned_away`: 421
    answered MAIL. `says_nothing`: no reply was about this mail: none came, or MAIL met a 421.
    `envelope_left`: the upstream holds an envelope of ours: RSET must precede the next MAIL.
    """

    def __init__(self, recipients: Sequence[Pending]) -> None:
        self._recipients = recipients
        self._known: dict[int, Outcome] = {}
        self._heard = 0
        self.granted = False
        self.dot_written = False
        self.in_step = True
        self.turned_away = False
        self.says_nothing = True
        self.envelope_left = False

    @property
    def phase(self) -> Phase:
        """The command whose reply comes next."""
        if self._heard == 0:
            return "mail"
        if self._heard <= len(self._recipients):
            return "rcpt"
        return "dot" if self.dot_written else "data"

    @property
    def is_open(self) -> bool:
        """True while a recipient is neither taken nor refused."""
        return len(self._known) < len(self._recipients)

    def hear(self, replies: Iterable[Reply]) -> None:
        """Take the replies to the next commands."""
        for reply in replies:
            place, code = self._heard, reply.code
            self._heard += 1
            if place == 0:
                self.says_nothing = self.turned_away = code == 421
                self.envelope_left = 200 <= code <= 299
            if place > len(self._recipients):
                self._hear_of_content(reply)
            elif not 200 <= code <= 299:
                alone = place > 0 and code != 421
                told = self._recipients[place - 1 : place] if alone else self._recipients
                self._settle(told, reply, "rcpt" if place else "mail")

    def _hear_of_content(self, reply: Reply) -> None:
        """Take the reply to DATA or to the dot."""
        if self.dot_written:
            self.envelope_left = False
            self._settle(self._recipients, reply, "dot")
        elif reply.code == 354 and not self.granted:
            self.granted = True
        else:
            # A second reply before the dot is not an invitation but a word that came too early.
            self._settle(self._recipients, reply, "data")

    def lose(self, text: str) -> None:
        """Say that no more replies come. After the dot nobody knows what that means (RFC 1047)."""
        self.in_step = False
        missed = Verdict.UNKNOWN if self.phase == "dot" else Verdict.DEFERRED
        self._note(self._recipients, missed, Reply(0, None, printable(text)), self.phase)

    def _settle(self, told: Sequence[Pending], reply: Reply, phase: Phase) -> None:
        self.in_step = self.in_step and _is_sensible(reply.code, phase)
        self._note(told, verdict(reply.code, phase), reply, phase)

    def _note(self, told: Sequence[Pending], meaning: Verdict, reply: Reply, phase: Phase) -> None:
        for pending in told:
            if pending.n not in self._known:
                self._known[pending.n] = Outcome(
                    pending.n, meaning, reply.code, reply.enhanced, reply.text, phase
                )

    def outcomes(self) -> list[Outcome]:
        """Return one Outcome per recipient, in the order given; ask only when none is open."""
        return [self._known[pending.n] for pending in self._recipients]


def _is_sensible(code: int, phase: Phase) -> bool:
    """Say whether a reply that does not go on is one that the phase may have."""
    return code != 421 and (400 <= code <= 599 or (phase == "dot" and 200 <= code <= 299))
