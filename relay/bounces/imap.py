"""One connection to an IMAP server. The home of aioimaplib.

The server is a stranger's: it may be silent, lie, or send without end. Promises: no call waits
longer than it is given, or a moment longer than the connection lasts; no answer is larger than what
was asked for; every fault is a MailboxFault, after which the connection is good for nothing but
`close`.

RFC 3501 and 9051; IDLE: RFC 2177; MOVE: RFC 6851; UIDPLUS: RFC 4315.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import aioimaplib

from relay.bounces.responses import (
    Line,
    Mail,
    folder_name,
    mails,
    quoted,
    since,
    sizes,
    uid_set,
    uid_validity,
    uids_after,
)
from relay.errors import MailboxFault
from relay.formats.characters import without_forbidden
from relay.store.mailbox import Mailbox
from relay.tls import client_tls

# The library goes one call deeper for each line of what it is given at once.
LINES_AT_ONCE = 100
SMALL_BYTES = 65_536
SEARCH_BYTES = 4 * 1024 * 1024
LINE_BYTES = 512
TEXT_CHARS = 300
# A server may close a connection that is idle for 30 minutes (RFC 2177).
LONGEST_IDLE_S = 25 * 60.0


@dataclass(frozen=True, slots=True)
class ImapLimits:
    """`min_rate_bytes_s` gives the time that a big mail may need."""

    connect_timeout_s: float
    command_timeout_s: float
    min_rate_bytes_s: float = 100_000.0


class Silent(MailboxFault):
    """No answer came in time."""


class Declined(MailboxFault):
    """The server says no."""


class _Wire(asyncio.Protocol):
    """Stands between the socket and the library: bounds what is taken, and tells of the end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.protocol = aioimaplib.IMAP4ClientProtocol(loop)
        self.greeting: asyncio.Future[bytes] = loop.create_future()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.allowance = SMALL_BYTES
        self._greeted = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.allowance -= len(data)
        if self.allowance < 0:
            self.end("the server says more than it was asked")
            return
        if not self.greeting.done():
            data = self._greet(data)
        try:
            self._hand_on(data)
        except (aioimaplib.AioImapException, RecursionError, ValueError, LookupError) as error:
            self.end(f"the server does not speak IMAP: {type(error).__name__}")

    def connection_lost(self, error: Exception | None) -> None:
        self.end(f"connection lost: {error}" if error else "connection lost")

    def end(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    def _greet(self, data: bytes) -> bytes:
        self._greeted += data
        line, end, rest = self._greeted.partition(b"\r\n")
        if not end:
            return b""
        self.greeting.set_result(line)
        return rest

    def _hand_on(self, data: bytes) -> None:
        lines = data.splitlines(keepends=True)
        for start in range(0, len(lines), LINES_AT_ONCE):
            self.protocol.data_received(b"".join(lines[start : start + LINES_AT_ONCE]))


class Session:
    """A connection that is logged in. One call at a time."""

    def __init__(self, wire: _Wire, limits: ImapLimits) -> None:
        self._wire = wire
        self._protocol = wire.protocol
        self._limits = limits
        self._is_at_rest = True

    @classmethod
    async def open(cls, mailbox: Mailbox, limits: ImapLimits) -> "Session":
        """Connect and log in. Raises MailboxFault."""
        wire = await _connect(mailbox, limits)
        session = cls(wire, limits)
        try:
            await session._log_in(mailbox)
        except BaseException:
            await session.close()
            raise
        return session

    @property
    def can_idle(self) -> bool:
        return "IDLE" in self._capabilities

    async def select(self, folder: str) -> int:
        """Open a folder, as it is now; return its UIDVALIDITY."""
        lines = await self._ask("SELECT", self._protocol.select(folder_name(folder)))
        validity = uid_validity(lines)
        if validity is None:
            raise MailboxFault("SELECT: the server tells no UIDVALIDITY (RFC 9051 §2.3.1.1)")
        return validity

    async def uids_after(self, last_uid: int, oldest_at: float | None) -> list[int]:
        """Return the UIDs above one, in order and of mail from that day on; not all, where there
        are many.
        """
        criteria = [f"UID {last_uid + 1}:*"]
        if oldest_at is not None:
            criteria.append(f"SINCE {since(oldest_at)}")
        search = self._protocol.search(*criteria, charset=None, by_uid=True)
        return uids_after(await self._ask("SEARCH", search, most_bytes=SEARCH_BYTES), last_uid)

    async def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Return the sizes of those mails that are there, by UID, in order."""
        fetch = self._protocol.fetch(uid_set(uids), "(UID RFC822.SIZE)", by_uid=True)
        return sizes(await self._ask("FETCH", fetch), frozenset(uids))

    async def fetch(self, asked: dict[int, int], most_bytes: int) -> list[Mail]:
        """Read mails, of each its first `most_bytes`; `asked` has the size of each UID."""
        items = f"(UID BODY.PEEK[]<0.{most_bytes}>)"
        room = sum(min(size, most_bytes) + LINE_BYTES for size in asked.values())
        fetch = self._protocol.fetch(uid_set(asked), items, by_uid=True)
        limit_s = self._limits.command_timeout_s + room / self._limits.min_rate_bytes_s
        answer = await self._ask("FETCH", fetch, most_bytes=room + SMALL_BYTES, limit_s=limit_s)
        found = mails(answer, asked)
        return [Mail(mail.uid, mail.size_bytes, mail.raw[:most_bytes]) for mail in found]

    async def flag(self, uids: Sequence[int], flag: str) -> None:
        store = self._protocol.store(uid_set(uids), "+FLAGS.SILENT", f"({flag})", by_uid=True)
        await self._ask("STORE", store)

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """Move mails to a folder, which is made where it is missing."""
        try:
            await self._move(uids, folder)
        except Declined:
            with suppress(Declined):
                create = self._protocol.simple_command("CREATE", folder_name(folder))
                await self._ask("CREATE", create)
            await self._move(uids, folder)

    async def delete(self, uids: Sequence[int]) -> None:
        """Delete mails; without UIDPLUS they are marked so, since EXPUNGE would take others too."""
        await self.flag(uids, r"\Deleted")
        if "UIDPLUS" in self._capabilities:
            await self._ask("EXPUNGE", self._protocol.expunge(uid_set(uids), by_uid=True))

    async def idle(self, wait_s: float) -> None:
        """Wait until something happens in the folder, at most `wait_s`."""
        limit_s = self._limits.command_timeout_s
        idling = asyncio.ensure_future(self._protocol.idle())
        begun = asyncio.ensure_future(self._protocol.wait_for_idle_response())
        push = asyncio.ensure_future(self._protocol.idle_queue.get())
        self._wire.allowance = SMALL_BYTES
        self._is_at_rest = False
        try:
            await self._first("IDLE", limit_s, begun, idling)
            with suppress(Silent):
                await self._first("IDLE", min(wait_s, LONGEST_IDLE_S), push, idling)
            if not idling.done():
                self._protocol.idle_done()
            await self._first("IDLE", limit_s, idling)
            self._is_at_rest = True
            _lines_of("IDLE", idling)
        finally:
            await _drop(idling, begun, push)

    async def close(self) -> None:
        """Leave, politely if the server is there to hear it."""
        if self._is_at_rest and not self._wire.lost.done():
            with suppress(MailboxFault):
                await self._ask("LOGOUT", self._protocol.logout(), limit_s=1.0)
        self._wire.end("closed")

    @property
    def _capabilities(self) -> set[str]:
        offered: set[str] = self._protocol.capabilities
        return offered

    async def _log_in(self, mailbox: Mailbox) -> None:
        await self._first("greeting", self._limits.connect_timeout_s, self._wire.greeting)
        greeting = self._wire.greeting.result()
        if not greeting.upper().startswith(b"* OK"):
            raise MailboxFault(f"the server does not take us: {_text(greeting)}")
        self._protocol.state = aioimaplib.NONAUTH
        login = self._protocol.login(quoted(mailbox.user), mailbox.password)
        await self._ask("LOGIN", login, secret=mailbox.password)
        await self._ask("CAPABILITY", self._protocol.capability())

    async def _move(self, uids: Sequence[int], folder: str) -> None:
        name = folder_name(folder)
        if "MOVE" in self._capabilities:
            await self._ask("MOVE", self._protocol.move(uid_set(uids), name, by_uid=True))
            return
        await self._ask("COPY", self._protocol.copy(uid_set(uids), name, by_uid=True))
        await self.delete(uids)

    async def _ask(
        self,
        what: str,
        work: Coroutine[Any, Any, Any],
        *,
        most_bytes: int = SMALL_BYTES,
        limit_s: float | None = None,
        secret: str = "",
    ) -> list[Line]:
        """Give a command and return the lines of its answer. Raises MailboxFault, whose text is
        without the secret that was sent.
        """
        self._wire.allowance = most_bytes
        asking = asyncio.ensure_future(work)
        self._is_at_rest = False
        try:
            await self._first(what, limit_s or self._limits.command_timeout_s, asking)
            self._is_at_rest = True
            return _lines_of(what, asking, secret)
        finally:
            await _drop(asking)

    async def _first(self, what: str, limit_s: float, *awaited: "asyncio.Future[Any]") -> None:
        """Wait for one of these. Raises Silent in the end, MailboxFault when the line is lost."""
        lost = self._wire.lost
        done, _ = await asyncio.wait(
            {*awaited, lost}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise Silent(f"{what}: no answer in {limit_s:g} s")
        if done == {lost}:
            raise MailboxFault(f"{what}: {lost.result()}")


async def _connect(mailbox: Mailbox, limits: ImapLimits) -> _Wire:
    loop = asyncio.get_running_loop()
    context = None
    try:
        async with asyncio.timeout(limits.connect_timeout_s):
            if mailbox.uses_tls:
                context = await asyncio.to_thread(client_tls, mailbox.ca_file, mailbox.verify)
            _, wire = await loop.create_connection(_Wire, mailbox.host, mailbox.port, ssl=context)
            return wire
    except TimeoutError:
        raise Silent(f"connect: no answer in {limits.connect_timeout_s:g} s") from None
    except (OSError, ValueError) as error:
        raise MailboxFault(f"connect: {_shown(str(error))}") from error


def _lines_of(what: str, asking: "asyncio.Future[Any]", secret: str = "") -> list[Line]:
    try:
        response = asking.result()
    except (aioimaplib.AioImapException, ValueError, LookupError) as error:
        said = _without(str(error), secret) or type(error).__name__
        raise MailboxFault(f"{what}: {_shown(said)}") from error
    if response is None:
        return []
    if response.result != "OK":
        raise Declined(f"{what}: {response.result} {_text(response.lines[-1], secret)}")
    return list(response.lines)


async def _drop(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _text(line: Line, secret: str = "") -> str:
    return _shown(_without(bytes(line[: 4 * TEXT_CHARS]).decode("utf-8", "replace"), secret))


def _shown(text: str) -> str:
    return " ".join(without_forbidden(text).split())[:TEXT_CHARS]


def _without(text: str, secret: str) -> str:
    """Blot a password out, as it is and as it is quoted: some servers repeat what they refuse."""
    for form in (quoted(secret)[1:-1], secret):
        text = text.replace(form, "***") if secret else text
    return text
