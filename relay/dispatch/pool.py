"""Connections to upstreams: opened, secured, logged in, kept warm and lent.

The home of aiosmtplib, which connects, says EHLO, STARTTLS and AUTH; the transport then belongs to
a `Session`. Promises:

- A connection serves one tenant's account in one version of its settings, never another.
- A password is never said in clear, but to an account whose TLS was turned off by name. Offered or
  required TLS that fails is a fault, never a reason to go on without.
- One AUTH mechanism, tried once, one connection at a time: three wrong logins in a row lock
  accounts.
- What was idle is lent only if it is still good; what died in between is replaced without a word.

How many connections an account may have is for the caller to bound. RFC 3207 (STARTTLS),
4954 (AUTH), 8314 (implicit TLS).
"""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import aiosmtplib

from relay.dispatch.commands import Extensions
from relay.dispatch.logins import Logins
from relay.dispatch.reply import printable
from relay.dispatch.session import Session, Timeouts
from relay.errors import AccountFault
from relay.model import Account, TlsMode
from relay.net.dial import dial
from relay.net.names import Names
from relay.tls import client_tls

AccountKey = tuple[str, str]

PROBE_S = 20.0
LEARNED_FOR_S = 3600.0
IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True, slots=True)
class PoolSettings:
    helo_name: str
    connect_timeout_s: float = 30.0
    command_timeout_s: float = 300.0
    data_timeout_s: float = 600.0
    min_rate_bytes_s: float = 1000.0
    idle_s: float = 60.0
    max_age_s: float = 300.0
    probe_after_s: float = 30.0


@dataclass(slots=True)
class Shelf:
    """The connections of one account in one version of its settings; the one used last is the last
    of those that are idle.
    """

    idle: list["Upstream"] = field(default_factory=list)
    lent: set["Upstream"] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Upstream:
    """A connection that is lent. Give it back with `release`, or `discard` it."""

    session: Session
    account: Account
    shelf: Shelf
    opened_at: float
    idle_since: float


class Pool:
    def __init__(
        self,
        settings: PoolSettings,
        clock: Callable[[], float] = time.monotonic,
        names: Names | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._names = names or Names()
        self._logins = Logins()
        self._shelves: dict[tuple[str, str, int], Shelf] = {}
        self._learned: dict[AccountKey, tuple[int, float]] = {}
        self._contexts: dict[tuple[str | None, bool], ssl.SSLContext] = {}
        self._is_closed = False

    @property
    def open_count(self) -> int:
        return sum(len(shelf.idle) + len(shelf.lent) for shelf in self._shelves.values())

    def standing(self, account: Account) -> int:
        """Count the connections that are open for mail of this account, idle or lent."""
        shelf = self._shelf(account)
        return len(shelf.idle) + len(shelf.lent)

    def idle(self, key: AccountKey) -> int:
        return sum(len(shelf.idle) for name, shelf in self._shelves.items() if name[:2] == key)

    def observed_max_messages(self, key: AccountKey) -> int | None:
        """Return how many mails the upstream lately took before it said 421 to the next."""
        mails, learned_at = self._learned.get(key, (0, 0.0))
        return mails if mails and self._clock() - learned_at < LEARNED_FOR_S else None

    async def acquire(self, account: Account) -> Upstream:
        """Lend a connection that is ready for MAIL: the one used last, or a new one.

        Raises AccountFault: the upstream cannot be used now.
        """
        upstream = await self._take(self._shelf(account))
        if upstream is None:
            session = await self._open(account)
            now = self._clock()
            upstream = Upstream(session, account, self._shelf(account), now, now)
            upstream.shelf.lent.add(upstream)
        return upstream

    async def release(self, upstream: Upstream) -> None:
        """Take back; it is kept if it may carry another mail, and closed at once if it is out of
        step.
        """
        now = upstream.idle_since = self._clock()
        if not self._is_closed and self._may_carry_more(upstream, now):
            upstream.shelf.lent.discard(upstream)
            upstream.shelf.idle.append(upstream)
        elif upstream.session.reusable:
            upstream.shelf.lent.discard(upstream)
            await upstream.session.quit()
        else:
            await self.discard(upstream)

    async def discard(self, upstream: Upstream) -> None:
        """Take back and close at once, whatever it was doing."""
        upstream.shelf.lent.discard(upstream)
        self._learn(upstream)
        upstream.session.abort("discarded")

    async def expire(self) -> None:
        """Close what was idle or open for too long, or has died."""
        now = self._clock()
        over: list[Upstream] = []
        for name, shelf in list(self._shelves.items()):
            good = [upstream for upstream in shelf.idle if self._may_carry_more(upstream, now)]
            over.extend(upstream for upstream in shelf.idle if upstream not in good)
            shelf.idle[:] = good
            if not good and not shelf.lent:
                del self._shelves[name]
        await _quit_all(over)

    async def close(self) -> None:
        """Say QUIT on what is idle and end what is still lent."""
        self._is_closed = True
        shelves = list(self._shelves.values())
        self._shelves.clear()
        for upstream in [upstream for shelf in shelves for upstream in shelf.lent]:
            await self.discard(upstream)
        await _quit_all([upstream for shelf in shelves for upstream in shelf.idle])

    def _shelf(self, account: Account) -> Shelf:
        name = account.tenant_id, account.id, account.version
        shelf = self._shelves.get(name)
        if shelf is None:
            shelf = self._shelves[name] = Shelf()
        return shelf

    async def _take(self, shelf: Shelf) -> Upstream | None:
        while shelf.idle:
            upstream = shelf.idle.pop()
            now = self._clock()
            if not self._may_carry_more(upstream, now):
                await upstream.session.quit()
                continue
            is_good = False
            shelf.lent.add(upstream)
            try:
                is_good = not self._is_in_doubt(upstream, now) or await self._is_alive(upstream)
            finally:
                if not is_good:
                    shelf.lent.discard(upstream)
            # The others were idle for longer still: no use in probing them one after another.
            return upstream if is_good else None
        return None

    def _may_carry_more(self, upstream: Upstream, now: float) -> bool:
        account, session = upstream.account, upstream.session
        limit = account.max_messages_per_connection
        if self._learned:
            limit = min(limit, self.observed_max_messages(account.key) or limit)
        return (
            session.reusable
            and session.mails < limit
            and now - upstream.idle_since < self._settings.idle_s
            and now - upstream.opened_at < min(account.ttl, self._settings.max_age_s)
        )

    def _is_in_doubt(self, upstream: Upstream, now: float) -> bool:
        idle_s = now - upstream.idle_since
        return upstream.session.needs_reset or idle_s > self._settings.probe_after_s

    async def _is_alive(self, upstream: Upstream) -> bool:
        """Probe. One that hangs costs a connection, not a mail."""
        return await upstream.session.reset(min(PROBE_S, self._settings.command_timeout_s))

    def _learn(self, upstream: Upstream) -> None:
        mails = upstream.session.takes_mails
        if mails is not None:
            self._learned[upstream.account.key] = mails, self._clock()

    async def _open(self, account: Account) -> Session:
        if account.is_damaged:
            raise AccountFault("its stored password cannot be read: set it again", phase="auth")
        context = await self._context(account)
        client = await _connected(account, self._settings, context, self._names)
        try:
            limit_s = self._settings.command_timeout_s
            if account.user:
                async with _step("auth", account, limit_s):
                    key = account.tenant_id, account.id, account.version
                    await self._logins.take(key, partial(_log_in, client, account))
            return _adopt(client, self._settings)
        except BaseException:
            _abort(client)
            raise

    async def _context(self, account: Account) -> ssl.SSLContext | None:
        if effective_tls(account) is TlsMode.NONE:
            return None
        key = account.ca_file, account.verify
        if key not in self._contexts:
            with _faults("tls", account):
                self._contexts[key] = await asyncio.to_thread(client_tls, *key)
        return self._contexts[key]


async def _quit_all(upstreams: list[Upstream]) -> None:
    async with asyncio.TaskGroup() as group:
        for upstream in upstreams:
            group.create_task(upstream.session.quit())


def effective_tls(account: Account) -> TlsMode:
    """Return the mode in force: `tls` wins over `use_tls`; port 465 speaks TLS from the start."""
    if account.tls_given or account.tls is not TlsMode.OPPORTUNISTIC:
        return account.tls
    if account.use_tls is False:
        return TlsMode.NONE
    if account.port == IMPLICIT_TLS_PORT:
        return TlsMode.IMPLICIT
    # A login must not be said in clear because somebody on the way took STARTTLS out of the offer.
    return TlsMode.STARTTLS if account.use_tls or account.user else TlsMode.OPPORTUNISTIC


async def _connected(
    account: Account, settings: PoolSettings, context: ssl.SSLContext | None, names: Names
) -> aiosmtplib.SMTP:
    """Connect, greet and secure."""
    with _faults("connect", account):
        client = aiosmtplib.SMTP(
            hostname=account.host,
            local_hostname=settings.helo_name,
            timeout=settings.command_timeout_s,
            use_tls=effective_tls(account) is TlsMode.IMPLICIT,
            start_tls=False,
            tls_context=context,
        )
    try:
        async with _step("connect", account, settings.connect_timeout_s):
            limit_s = settings.connect_timeout_s
            # From here on the socket belongs to the client.
            await client.connect(sock=await dial(names, account.host, account.port, limit_s))
        async with _step("ehlo", account, settings.command_timeout_s):
            await client.ehlo()
        async with _step("tls", account, settings.command_timeout_s):
            await _secure(client, account)
        return client
    except BaseException:
        _abort(client)
        raise


async def _secure(client: aiosmtplib.SMTP, account: Account) -> None:
    mode = effective_tls(account)
    if mode in (TlsMode.NONE, TlsMode.IMPLICIT):
        return
    if client.supports_extension("starttls"):
        await client.starttls()
        # RFC 3207 §4.2: what was offered in clear counts no more.
        await client.ehlo()
    elif mode is TlsMode.STARTTLS or account.user:
        raise AccountFault("STARTTLS is required and not offered", phase="tls")


async def _log_in(client: aiosmtplib.SMTP, account: Account) -> None:
    """Log in by one mechanism: PLAIN first, since the server then need not keep the password."""
    mechanisms = {
        "plain": client.auth_plain,
        "login": client.auth_login,
        "cram-md5": client.auth_crammd5,
    }
    for name, log_in in mechanisms.items():
        if name in client.server_auth_methods:
            with _faults("auth", account):
                await log_in(account.user or "", account.password or "")
            return
    raise AccountFault("no AUTH mechanism that both sides know is offered", phase="auth")


def _adopt(client: aiosmtplib.SMTP, settings: PoolSettings) -> Session:
    """Take the transport from aiosmtplib; it has read every reply that it asked for."""
    if client.transport is None or client.transport.is_closing():
        raise AccountFault("connection lost before the first mail", phase="connect")
    timeouts = Timeouts(
        settings.command_timeout_s, settings.data_timeout_s, settings.min_rate_bytes_s
    )
    transport = cast(asyncio.Transport, client.transport)
    # Else the two would hold each other, and the connection's buffers, until they are collected.
    client.transport = client.protocol = None
    return Session(transport, _extensions(client.esmtp_extensions), timeouts)


def _extensions(offered: dict[str, str]) -> Extensions:
    size = offered.get("size")
    return Extensions(
        size=None if size is None else int(size) if size.isdecimal() else 0,
        eight_bit="8bitmime" in offered,
        smtputf8="smtputf8" in offered,
        dsn="dsn" in offered,
        pipelining="pipelining" in offered,
        enhanced="enhancedstatuscodes" in offered,
    )


def _abort(client: aiosmtplib.SMTP) -> None:
    if client.transport is not None:
        cast(asyncio.Transport, client.transport).abort()
    client.close()


@asynccontextmanager
async def _step(phase: str, account: Account, limit_s: float) -> AsyncIterator[None]:
    """Bound a step as a whole: aiosmtplib bounds each of its waits only."""
    with _faults(phase, account):
        async with asyncio.timeout(limit_s):
            yield


@contextmanager
def _faults(phase: str, account: Account) -> Iterator[None]:
    """Make every foreign exception an AccountFault that says no secret."""
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        text = _without_secrets(f"{error.code} {error.message}", account)
        raise AccountFault(text, phase=phase, code=max(0, error.code)) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        # The handshake of implicit TLS fails inside connect.
        is_tls = isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)
        text = _without_secrets(str(error) or "timed out", account)
        raise AccountFault(text, phase="tls" if is_tls else phase) from error


def _without_secrets(text: str, account: Account) -> str:
    """Blot out the password: some servers repeat the command that they refuse."""
    if account.password:
        plain = f"\0{account.user}\0{account.password}"
        for secret in (plain, account.password):
            encoded = base64.b64encode(secret.encode()).decode()
            text = text.replace(encoded, "***").replace(secret, "***")
    return printable(" ".join(text.split()))
