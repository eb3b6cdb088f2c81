"""The content of a mail: what comes between 354 and the final dot (RFC 5321 §4.1.1.4).

Promises: taken in blocks, never line by line; ended by CRLF.CRLF and by nothing that looks like it
(a bare CR or LF next to the dot is content, which the door refuses); bounded in memory, in bytes
and in time. A mail that is too large is read to its end in constant memory and then refused; a
flood ends the connection, and so does a client that is slower than the pace that is asked.
"""

import io
import re
from typing import NamedTuple

from relay.errors import Refused
from relay.formats.headers import making_crlf, unstuffing
from relay.ingress.smtp.inbox import Inbox
from relay.ingress.smtp.receiving import Share, full
from relay.ingress.smtp.replies import Hangup
from relay.turns import in_turns
from relay.value import frozen

DOT = b".\r\n"
LINE_DOT = b"\r\n."
FINAL_DOT = b"\r\n" + DOT
FLOOD = 4
# It takes half the time of `find`.
_LINE_DOT = re.compile(re.escape(LINE_DOT))


@frozen
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


class Taken(NamedTuple):
    """Content as it came. `has_dots`: some of its lines may begin with a dot."""

    content: bytes
    has_dots: bool


async def read_content(inbox: Inbox, pace: Pace, share: Share) -> Taken:
    """Return the content, dots still stuffed; the commands behind it stay in the inbox.

    Raises Refused when it is too large or there is no room in memory, Hangup for a flood or a
    client that is too slow, Gone.
    """
    started_at = inbox.now()
    block = await inbox.block(pace.deadline(started_at, started_at, 0))
    if _is_whole(block) and len(block) <= pace.max_bytes and share.grow(len(block)):
        return Taken(bytes(block[: -len(DOT)]), has_dots=False)
    inbox.put_back(block)
    return await _read_blocks(inbox, pace, share, started_at)


def _is_whole(block: bytearray) -> bool:
    """Say whether this is a mail without dots and nothing else, as most mail comes."""
    if block.startswith(b".") or not block.endswith(FINAL_DOT):
        return False
    return block.rfind(LINE_DOT, 0, len(block) - len(FINAL_DOT)) < 0


async def _read_blocks(inbox: Inbox, pace: Pace, share: Share, started_at: float) -> Taken:
    # Stuffed dots are not counted (RFC 1870 §5); of the worst mail they are a quarter.
    most = pace.max_bytes + pace.max_bytes // 3 + len(FINAL_DOT)
    content = io.BytesIO()  # It grows in place, and gives what it holds without a copy.
    before = b"\r\n"  # The line end that the dot of an empty mail needs before it.
    got, has_dots = 0, False
    while True:
        block = await inbox.block(pace.deadline(started_at, inbox.now(), got))
        got += len(block)
        is_kept = share.grow(len(block)) and got <= most
        searched = before + block
        dot = _LINE_DOT.search(searched)
        end = dot.start() if dot else -1
        if dot and not searched.startswith(FINAL_DOT, end):
            end, has_dots = searched.find(FINAL_DOT, end), True
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
    return Taken(content.getvalue(), has_dots)


@frozen
class Plain:
    """A mail as its author wrote it. `is_repaired`: line ends had to be repaired for that.
    `is_dotless`: none of its lines begins with a dot.
    """

    content: bytes
    is_repaired: bool = False
    is_dotless: bool = False


async def plain(taken: Taken, *, repair_line_ends: bool) -> Plain:
    """Return the mail itself: dots taken off, and bare LF made CRLF where that is asked."""
    content, has_dots = taken
    if repair_line_ends:
        # First the lines, then their dots: who ends lines with LF stuffs dots behind LF.
        repaired = await in_turns(making_crlf(content))
        whole = await in_turns(unstuffing(repaired))
        return Plain(whole, is_repaired=len(repaired) != len(content))
    if has_dots:
        return Plain(await in_turns(unstuffing(content)))
    return Plain(content, is_dotless=True)


def too_large() -> Refused:
    return Refused("The mail is too large", reason="too large", code=552, enhanced="5.3.4")
