"""One delivery to one account: a connection, the bytes in a form the upstream takes, the
transaction.

Promises: before anything is offered, the store says durably that it is (`Spool.begin`), and the
node still holds the mail; every recipient gets an outcome; a fault of the account or a full limit
is raised, and then no recipient was taken.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter

from relay import maillog
from relay.budget import Budget
from relay.dispatch.pool import Pool
from relay.dispatch.reply import next_portion
from relay.dispatch.return_path import ReturnPaths
from relay.dispatch.session import BeforeData, Extensions, Offer
from relay.errors import (
    ContentRefused,
    Damaged,
    Fenced,
    RelayError,
    StoreUnavailable,
    Temporary,
)
from relay.formats.address import needs_smtputf8
from relay.formats.headers import scan, without
from relay.formats.recode import to_7bit
from relay.model import Account, AccountKind, Delivery, Outcome, Pending, Verdict
from relay.store.spool import Spool

# RFC 5322 §2.1.1
LONGEST_LINE = 998
# Above this, re-encoding would hold up the loop.
THREAD_BYTES = 256 * 1024
CONNECTIONS_TRIED = 3
_address = attrgetter("address")


class LimitReached(Temporary):
    """The account's rate limit has no room until `free_at` (Unix seconds)."""

    def __init__(self, free_at: float) -> None:
        super().__init__("the account is at its limit")
        self.free_at = free_at


class InDoubt(Exception):
    """Our own code failed when an upstream might have had the mail already."""


class Deliverer:
    def __init__(
        self,
        spool: Spool,
        pool: Pool,
        returns: ReturnPaths,
        budget: Budget,
        max_recipients: int,
        can_record: Callable[[], bool],
    ) -> None:
        """`budget` bounds the content that is read from the store; `max_recipients` is how many are
        offered in one transaction; nothing is begun unless `can_record` says that its result could
        be written. `standing` counts the connections of an account.
        """
        self.standing = pool.standing
        self._can_record = can_record
        self._spool = spool
        self._pool = pool
        self._returns = returns
        self._budget = budget
        self._max_recipients = max_recipients

    async def deliver(self, delivery: Delivery, account: Account) -> tuple[Outcome, ...]:
        """Offer the mail; one outcome for each recipient.

        Raises AccountFault, LimitReached, Fenced, StoreUnavailable, Damaged: then nobody was taken.
        Any other error is a fault of our own: InDoubt where somebody may have been taken.
        """
        begin = Begin(self._spool, delivery, account, self._can_record)
        try:
            if account.kind is AccountKind.CAPTURE:
                await begin()
                return tuple(captured(pending) for pending in delivery.pending)
            if delivery.content is not None:
                return await self._offer_all(delivery, account, delivery.content, begin)
            # What is too big to come with the claim is in memory only while it is sent.
            async with self._budget.hold(delivery.lane, delivery.size_bytes):
                content = await self._spool.content(delivery.pk)
                return await self._offer_all(delivery, account, content, begin)
        except ContentRefused as refused:
            return failed(delivery, refused)
        except RelayError:
            raise
        except Exception as error:
            if begin.is_done:
                raise InDoubt from error
            raise

    async def _offer_all(
        self, delivery: Delivery, account: Account, content: bytes | None, begin: BeforeData
    ) -> tuple[Outcome, ...]:
        """Offer in portions: an upstream may take fewer recipients at a time than the mail has."""
        delivery, content = whole(delivery, account, content)
        # In the order of the recipients: each has its place from when it was first offered.
        outcomes: dict[int, Outcome] = {}
        left = delivery.pending
        while left:
            portion, rest = left[: self._max_recipients], left[self._max_recipients :]
            part = replace(delivery, pending=portion) if portion != delivery.pending else delivery
            try:
                said = await self._offer(part, account, content, begin)
            except Fenced:
                raise
            except Exception as error:
                # What was said of the first portions stands.
                if not outcomes:
                    raise
                said = cut_short(replace(delivery, pending=left), error)
                rest = ()
            for outcome in said:
                outcomes[outcome.n] = outcome
            again = next_portion(said)
            left = (*(p for p in portion if p.n in again), *rest) if again else rest
        return tuple(outcomes.values())

    async def _offer(
        self, asked: Delivery, account: Account, content: bytes, begin: BeforeData
    ) -> list[Outcome]:
        delivery = await self._returns.readdressed(asked, account)
        for _ in range(CONNECTIONS_TRIED):
            upstream = await self._pool.acquire(account)
            session = upstream.session
            try:
                offer = await fitted(delivery, content, session.extensions)
                outcomes = await session.offer(offer, begin)
            finally:
                await self._pool.release(upstream)
            if not session.worn_out:
                break
        # What NOTIFY asks for was passed on only to a server that offers DSN; and its reports come
        # back to us where the sender is ours, not to who asked for them.
        is_told = session.extensions.dsn and delivery.sender == asked.sender
        return outcomes if is_told else untold(asked, outcomes)


class Begin:
    """Say once that the upstream may have the mail from now on."""

    def __init__(
        self, spool: Spool, delivery: Delivery, account: Account, can_record: Callable[[], bool]
    ) -> None:
        self._can_record = can_record
        self._spool = spool
        self._delivery = delivery
        self._account = account
        self._is_stored = delivery.is_begun
        self.is_done = False

    async def __call__(self) -> None:
        if not self._can_record():
            raise StoreUnavailable("what came of it could not be recorded")
        if not self._is_stored:
            free_at = await self._spool.begin(self._delivery, self._account)
            if free_at is not None:
                raise LimitReached(free_at)
            self._is_stored = True
        # The fence guards the store, but no upstream asks for it: a node that was frozen, be it in
        # the lines above, must see that itself before it sends what another may have sent by now.
        await self._spool.hold(self._delivery.epoch)
        self.is_done = True


def whole(delivery: Delivery, account: Account, content: bytes | None) -> tuple[Delivery, bytes]:
    """Return the mail as this account sends it; raise ContentRefused or Damaged where its bytes are
    not there.
    """
    if content is None:
        raise ContentRefused("the content of this mail is gone", code=554)
    if len(content) != delivery.size_bytes:
        raise Damaged(f"{len(content)} of its {delivery.size_bytes} bytes are stored")
    if account.rewrite_from:
        content = with_sender(content, account.rewrite_from)
        delivery = replace(delivery, sender=delivery.sender and account.rewrite_from)
    return delivery, content


async def fitted(delivery: Delivery, content: bytes, offered: Extensions) -> Offer:
    """Return the mail in a form that the upstream takes; raise ContentRefused where there is
    none.
    """
    traits = delivery.traits
    if offered.size:
        check_size(content, offered.size)
    addresses = delivery.sender + "".join(map(_address, delivery.pending))
    utf8 = traits.has_utf8_headers or needs_smtputf8(addresses)
    if utf8 and not offered.smtputf8:
        raise ContentRefused("the upstream does not offer SMTPUTF8", code=550, enhanced="5.6.7")
    body_8bit, is_dotless = traits.has_8bit, traits.is_dotless
    if (body_8bit and not offered.eight_bit) or traits.longest_line > LONGEST_LINE:
        content, is_dotless = await recoded(content), False
        if offered.size:
            check_size(content, offered.size)
        body_8bit = body_8bit and offered.eight_bit and not content.isascii()
    return Offer(
        delivery.sender,
        delivery.pending,
        content,
        is_dotless,
        body_8bit,
        utf8,
        delivery.ret,
        # What comes back names it (Original-Envelope-Id, RFC 3464 §2.2.1).
        delivery.envid or delivery.pk,
    )


def with_sender(content: bytes, address: str) -> bytes:
    """Put the account's own address in From; replies still go to the author (RFC 5322 §3.6.2)."""
    head = scan(content)
    author = head.first("From")
    added = f"From: <{address}>\r\n"
    if author and not head.has("Reply-To"):
        added += f"Reply-To: {author.strip()}\r\n"
    return without(content, head, lambda name: name == b"from", added.encode())


def check_size(content: bytes, most_bytes: int) -> None:
    if len(content) > most_bytes:
        raise ContentRefused(
            f"the upstream takes {most_bytes} bytes at most", code=552, enhanced="5.3.4"
        )


async def recoded(content: bytes) -> bytes:
    if len(content) < THREAD_BYTES:
        return to_7bit(content)
    return await asyncio.to_thread(to_7bit, content)


def failed(delivery: Delivery, refused: ContentRefused) -> tuple[Outcome, ...]:
    text = f"{refused.code} {refused.enhanced} {refused}"
    return tuple(
        Outcome(p.n, Verdict.FAILED, refused.code, refused.enhanced, text, "relay")
        for p in delivery.pending
    )


def cut_short(left: Delivery, error: Exception) -> list[Outcome]:
    """Return what the end of a later portion means for those who were not taken before."""
    if isinstance(error, ContentRefused):
        return list(failed(left, error))
    if isinstance(error, RelayError):
        return list(deferred(left, str(error), "connect"))
    maillog.fault(left.pk, tenant=left.tenant_id, where="deliver", error=error)
    reply = f"a fault inside the relay: {type(error).__name__}"
    return [Outcome(p.n, Verdict.UNKNOWN, 0, None, reply, "relay") for p in left.pending]


def untold(delivery: Delivery, outcomes: list[Outcome]) -> list[Outcome]:
    """Mark those whose delivery nobody will report though the sender asked for it (RFC 3461
    §5.2.2).
    """
    asking = {p.n for p in delivery.pending if p.notify is not None and "SUCCESS" in p.notify}
    return [replace(o, is_untold=o.n in asking) for o in outcomes] if asking else outcomes


def captured(pending: Pending) -> Outcome:
    return Outcome(
        pending.n, Verdict.SENT, 250, "2.0.0", "kept for looking at, not delivered", "dot"
    )


def deferred(delivery: Delivery, reply: str, phase: str) -> Sequence[Outcome]:
    """Return the outcome of an attempt that failed before the upstream was asked."""
    return [Outcome(p.n, Verdict.DEFERRED, 0, None, reply, phase) for p in delivery.pending]
