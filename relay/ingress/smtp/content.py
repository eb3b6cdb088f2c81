"""The content of a mail: what comes between 354 and the final dot (RFC 5321 §4.1.1.4).

Promises: taken in blocks, never line by line; ended by CRLF.CRLF and by nothing that looks like it
(a bare CR or LF next to the dot is content, which the door refuses); bounded in memory, in bytes
and in time. A mail that is too large is read to its end in constant memory and then refused; a
flood ends the connection, and so does a client that is slower than the pace that is asked.
"""

import io
from dataclasses import dataclass

from relay.errors import Refused
from relay.formats.headers import making_crlf, unstuffing
from relay.ingress.smtp.inbox import Inbox
from relay.ingress.smtp.receiving import Share, full
from relay.ingress.smtp.replies import Hangup
from relay.turns import in_turns

DOT = b".\r\n"
FINAL_DOT = b"\r\n" + DOT
FLOOD = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """How much and how slow; `ends_at` is the loop's time at which the session ends in any case."""

    max_bytes: int
    idle_s: float
    min_rate_bytes_s: float
    grace_s: float
    ends_at: float

    def deadline(self, started_at: float, now: float, got_bytes: int) -> float:
        """Return until when the next block must be here."""
        deadline = min(now + self.idle_s, self.ends_at)
        if self.min_rate_bytes_s:
            slowest_s = got_bytes / self.min_rate_bytes_s
            deadline = min(deadline, started_at + max(self.grace_s, slowest_s))
        return deadline


async def read_content(inbox: Inbox, pace: Pace, share: Share) -> bytes:
    """Return the content, dots still stuffed; the commands behind it stay in the inbox.

    Raises Refused when it is too large or there is no room in memory, Hangup for a flood or a
    client that is too slow, Gone.
    """
    started_at = inbox.now()
    block = await inbox.block(pace.deadline(started_at, started_at, 0))
    whole = _whole(block)
    if whole and len(whole) <= pace.max_bytes and share.grow(len(whole)):
        return whole
    inbox.put_back(block)
    return await _read_blocks(inbox, pace, share, started_at)


def _whole(block: bytearray) -> bytes:
    """Return the content if this is all of it and nothing else: most mail comes in one block."""
    if block.endswith(FINAL_DOT) and block.find(FINAL_DOT) == len(block) - len(FINAL_DOT):
        # The empty mail's dot has no line end of its own before it.
        return b"" if block.startswith(DOT) else bytes(block[: -len(DOT)])
    return b""


async def _read_blocks(inbox: Inbox, pace: Pace, share: Share, started_at: float) -> bytes:
    # Stuffed dots are not counted (RFC 1870 §5); of the worst mail they are a quarter.
    most = pace.max_bytes + pace.max_bytes // 3 + len(FINAL_DOT)
    content = io.BytesIO()  # It grows in place, and gives what it holds without a copy.
    before = b"\r\n"  # The line end that the dot of an empty mail needs before it.
    got = 0
    while True:
        block = await inbox.block(pace.deadline(started_at, inbox.now(), got))
        got += len(block)
        is_kept = share.grow(len(block)) and got <= most
        searched = before + block
        end = searched.find(FINAL_DOT)
        if end >= 0:
            break
        if got > FLOOD * pace.max_bytes:
            raise Hangup("421 4.7.0 Far too large")
        if is_kept:
            content.write(block)
        else:
            content = io.BytesIO()
        before = searched[1 - len(FINAL_DOT) :]
    rest = block[end + len(FINAL_DOT) - len(before) :]
    inbox.put_back(rest)
    if got - len(rest) > most:
        raise too_large()
    if share.is_full:
        raise full()
    content.write(block)
    content.truncate(got - len(rest) - len(DOT))
    return content.getvalue()


@dataclass(frozen=True, slots=True)
class Plain:
    """A mail as its author wrote it, and whether line ends had to be repaired for that."""

    content: bytes
    is_repaired: bool = False


async def plain(content: bytes, *, repair_line_ends: bool) -> Plain:
    """Return the mail itself: dots taken off, and bare LF made CRLF where that is asked."""
    if not repair_line_ends:
        return Plain(await in_turns(unstuffing(content)))
    # First the lines, then their dots: who ends lines with LF stuffs dots behind LF.
    repaired = await in_turns(making_crlf(content))
    whole = await in_turns(unstuffing(repaired))
    return Plain(whole, is_repaired=len(repaired) != len(content))


def too_large() -> Refused:
    return Refused("The mail is too large", reason="too large", code=552, enhanced="5.3.4")
