"""The queue as one node uses it: its lease, its channels to the writers, and where ingress and
dispatch meet.

A mail that can be sent at once is stored as leased to this node and handed to the dispatcher in
memory (`Taker`); the database holds it all the same, and a crash loses nothing but the hand-over.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Protocol, TypeVar

from relay import maillog
from relay.errors import CommitInDoubt, Fenced, Refused, RelayError, StoreUnavailable
from relay.model import Account, Delivery, NewMail, Recipient
from relay.store import contents, nodes
from relay.store.database import Database, Script
from relay.store.doubts import Doubts
from relay.store.queue.arrival import Accepted, Arrival, Lease, is_retried, named
from relay.store.queue.aside import Desk, FaultPolicy, charge
from relay.store.queue.claim import (
    BeginRequest,
    ClaimRequest,
    begin,
    claim,
    give_up,
)
from relay.store.queue.handover import delivery_of
from relay.store.queue.notify import Postmaster, notify_of
from relay.store.queue.once import Answers, Group, Once, Outcome, Repeat, accept_groups
from relay.store.queue.settle import (
    Gates,
    Notice,
    Release,
    Settlement,
    notify_nobody,
    seqs_needed,
    settle,
)
from relay.store.recall import recalled
from relay.store.writer import Channel, OnCommit, Writer

NO_FAULT_SETTINGS = FaultPolicy()

Begun = tuple[int, BeginRequest]
P = TypeVar("P", bound="Place")

# By then every node has learnt that the database's clock was set.
CLOCK_LEARNT_S = 15.0


class Place(Protocol):
    """Room that a dispatcher keeps for one mail; `is_begun`: it is offered as soon as it is
    stored.
    """

    @property
    def is_begun(self) -> bool: ...


class Taker(Protocol[P]):
    """The dispatcher, as the store sees it. No method waits."""

    def reserve(self, lane: str, size_bytes: int, *, may_begin: bool) -> P | None:
        """Keep a place for one mail of this lane, if it could be sent at once; one that is stored
        as begun only where it may be.
        """
        ...

    def cancel(self, place: P) -> None:
        """Give a place back: its mail was not stored, or not as leased."""
        ...

    def take(self, delivery: Delivery, place: P) -> None:
        """Send the mail of a place: it is stored and leased to this node."""
        ...

    def notice(self, lanes: Iterable[str]) -> None:
        """Know that these lanes have work in the store."""
        ...


class Spool:
    def __init__(
        self,
        database: Database,
        *,
        node_id: str,
        lease_s: float,
        on_commit: OnCommit,
        postmaster: Postmaster | None = None,
        on_notice: Callable[[Notice], None] = lambda _notice: None,
        faults: FaultPolicy = NO_FAULT_SETTINGS,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        """Without a `postmaster` no sender is notified. `on_notice` hears of what was queued,
        `on_full` of a disk that is full. `faults` says what becomes of mail that this relay fails
        at by itself.

        `now()` is the store's time (Unix seconds).
        """
        self.database = database
        self.now = database.now
        self.postmaster = postmaster
        self._on_notice = on_notice
        self._faults = faults
        self._loop: asyncio.AbstractEventLoop | None = None
        self.epoch = 0
        self.node_id = node_id
        self._lease_s = lease_s
        self._renewed_at = 0.0
        self._last_claim = 0
        self._last_seq = 0
        self._doubts = Doubts(time.monotonic)
        self._taker: Taker[Any] | None = None
        self._lease_task: asyncio.Task[None] | None = None
        incoming = Writer(database, on_commit, on_full)
        # SQLite has one writer: one commit for both ways costs one sync instead of two.
        outgoing = incoming if database.single_writer else Writer(database, on_commit, on_full)
        self._writers = list({id(w): w for w in (incoming, outgoing)}.values())
        self._open_channels(incoming, outgoing)

    def _open_channels(self, incoming: Writer, outgoing: Writer) -> None:
        # In one commit what is given back comes before what is claimed: it keeps its place.
        self._settles: Channel[Settlement | Release, Notice | None] = outgoing.channel(
            self._settle, is_vital=True
        )
        self._begins: Channel[Begun, float | None] = outgoing.channel(self._begin)
        self._claims: Channel[ClaimRequest, list[Delivery]] = outgoing.channel(
            self._claim, told=self._claimed
        )
        self._accepts: Channel[Group, Answers | Repeat] = incoming.channel(
            self._accept, told=self._stored, most=200
        )

    def serve(self, taker: Taker[Any]) -> None:
        """Name the dispatcher that takes what can be sent at once."""
        self._taker = taker

    async def start(self) -> None:
        """Begin a life of this node."""
        self._loop = asyncio.get_running_loop()
        await self._register()
        for writer in self._writers:
            writer.start()
        self._lease_task = asyncio.create_task(self._keep_lease())

    async def close(self) -> None:
        """Commit what waits, give back what is leased but not begun, and leave."""
        for writer in self._writers:
            await writer.close()
        if self._lease_task:
            self._lease_task.cancel()
            await asyncio.gather(self._lease_task, return_exceptions=True)
        try:
            await self.database.write(lambda: nodes.leave(self.epoch))
        except StoreUnavailable as error:
            maillog.store_trouble(error)

    async def accept(self, mail: NewMail) -> Accepted:
        """Store one mail; it is committed and synced when this returns. Raises Refused,
        StoreUnavailable.
        """
        answer = (await self.accept_all([mail]))[0]
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def accept_all(self, mails: Sequence[NewMail]) -> Answers:
        """Store mails in one transaction; one answer for each, in order.

        A caller that is cancelled changes nothing: what it submitted is committed and sent.
        """
        answers = await self._submit(mails)
        assert isinstance(answers, list)  # noqa: S101 - only a key can be a repeat
        return answers

    async def accept_once(self, mails: Sequence[NewMail], once: Once) -> Answers | Repeat:
        """Store mails unless a call with this key did already. Raises Refused when that was
        another call.
        """
        return await self._submit(mails, once)

    def claim(self, lane: str, most: int) -> "asyncio.Future[list[Delivery]]":
        return self._claims.submit(ClaimRequest(lane, most, self.next_claim()))

    def begin(self, delivery: Delivery, account: Account) -> "asyncio.Future[float | None]":
        """Mark that an upstream may have it from now on; answers when the account has room, if it
        has none now.
        """
        ns = tuple(p.n for p in delivery.pending)
        return self._begins.submit((delivery.epoch, BeginRequest(delivery.pk, ns, account)))

    def settle(self, item: Settlement | Release) -> "asyncio.Future[Notice | None]":
        future = self._settles.submit(item)
        if isinstance(item, Settlement) and item.may_be_told:
            future.add_done_callback(self._notified)
        return future

    def announce(self, notice: Notice) -> None:
        """Say that a notification was queued."""
        self._on_notice(notice)
        if self._taker is not None:
            self._taker.notice([notice.lane])

    def next_claim(self) -> int:
        self._last_claim += 1
        return self._last_claim

    async def hold(self, epoch: int) -> None:
        """Return once it is certain that nobody has buried this life of the node: half of its lease
        at least is left. Raises Fenced.
        """
        while epoch == self.epoch:
            if time.monotonic() - self._renewed_at < self._lease_s / 2:
                return
            await self.renew()
        raise stale(epoch)

    async def renew(self) -> None:
        """Keep this node's lease. Raises Fenced when another node has buried it."""
        started = time.monotonic()
        epoch, until = self.epoch, self.now() + self._lease_s
        await self.database.write(lambda: nodes.renew(epoch, until))
        self._renewed_at = max(self._renewed_at, started)

    async def bury_dead(self) -> nodes.Estate:
        """Take over what dead nodes held, this one's earlier lives included."""
        number = self.next_claim()
        # A lease by the time of before says nothing: who lives renews it by the new one first.
        is_steady = await self.database.steady_s() > CLOCK_LEARNT_S + self._lease_s
        before = self.now() if is_steady else 0.0
        return await self.database.write(
            lambda: nodes.bury_dead(self.desk(), self.node_id, number, before)
        )

    async def charge(self, delivery: Delivery) -> None:
        """Count a fault of a suspect before it is taken in hand."""
        await self.database.write(lambda: charge(delivery))

    def desk(self) -> Desk:
        """Return where mail that cannot be read is dealt with."""
        return Desk(self.epoch, self.now(), self._faults, self.next_seq, self._unreadable)

    def _unreadable(self, pk: str, lane: str, error: Exception) -> None:
        # A script may run in a thread of its own.
        maillog.fault(pk, tenant=lane.partition("/")[0], where="claim", error=error)
        if self._taker is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._taker.notice, [lane])

    async def end_doubts(self) -> list[str]:
        """Make due again what was leased by commits that were not answered; return its lanes."""
        claims = self._doubts.claims
        if not claims:
            return []
        lanes = await self.database.write(lambda: give_up(self.epoch, claims))
        self._doubts.asked(claims)
        return lanes

    async def content(self, pk: str) -> bytes | None:
        return await contents.read(self.database, pk)

    async def _submit(self, mails: Sequence[NewMail], once: Once | None = None) -> Answers | Repeat:
        number = self.next_claim()
        arrivals = [self._arrival(mail, number) for mail in mails]
        size_bytes = sum(len(mail.content) for mail in mails)
        try:
            return await self._accepts.submit(Group(arrivals, once), size_bytes)
        except CommitInDoubt:
            if once is not None:  # Its client gives it again with the same key.
                raise
        return list(await recalled(self.database, mails))

    def _arrival(self, mail: NewMail, number: int) -> Arrival:
        if self._taker is None or mail.due_at is not None:
            return Arrival(mail)
        may_begin = mail.is_prepared and is_retried(mail)
        place = self._taker.reserve(mail.lane, len(mail.content), may_begin=may_begin)
        return Arrival(mail, Lease(number, place, place.is_begun)) if place else Arrival(mail)

    def _stored(self, group: Group, result: Answers | Repeat | RelayError) -> None:
        """Hand over what was stored as leased, and say where the rest waits."""
        arrivals = group.arrivals
        if isinstance(result, RelayError):
            lease = next((a.lease for a in arrivals if a.lease is not None), None)
            self._doubts.note(lease.claim if lease else None, result)
        answers = result if isinstance(result, list) else repeat(None)
        for arrival, answer in zip(arrivals, answers, strict=False):
            if isinstance(answer, Accepted):
                self._accepted(arrival, answer)
            elif arrival.lease and self._taker is not None:
                self._taker.cancel(arrival.lease.place)

    def _accepted(self, arrival: Arrival, answer: Accepted) -> None:
        if answer.notice is not None:
            self.announce(answer.notice)
        lease, taker = arrival.lease, self._taker
        if taker is None:
            return
        if lease and answer.epoch is not None:
            taker.take(handed_over(arrival, answer, answer.epoch), lease.place)
            return
        if lease:
            taker.cancel(lease.place)
        taker.notice([arrival.mail.lane])

    def _claimed(self, request: ClaimRequest, result: list[Delivery] | RelayError) -> None:
        if isinstance(result, RelayError):
            self._doubts.note(request.claim, result)

    def _accept(self, groups: Sequence[Group]) -> Script[list[Outcome]]:
        return (yield from accept_groups(groups, self.epoch, self.now(), self._notify))

    def _claim(self, requests: Sequence[ClaimRequest]) -> Script[list[list[Delivery]]]:
        return (yield from claim(requests, self.desk()))

    def _begin(self, items: Sequence[Begun]) -> Script[Sequence[float | RelayError | None]]:
        current = [request for epoch, request in items if epoch == self.epoch]
        answers = iter((yield from begin(current, self.epoch, self.now)))
        return [next(answers) if epoch == self.epoch else stale(epoch) for epoch, _ in items]

    def _settle(
        self, items: Sequence[Settlement | Release]
    ) -> Script[Sequence[Notice | RelayError | None]]:
        now = self.now()
        current = [
            item.by_clock(now) if isinstance(item, Settlement) else item
            for item in items
            if item.delivery.epoch == self.epoch
        ]
        first_seq = self.next_seq(seqs_needed(current))
        answers = iter((yield from settle(current, self.epoch, first_seq, self._notify)))
        return [
            next(answers) if item.delivery.epoch == self.epoch else stale(item.delivery.epoch)
            for item in items
        ]

    def _notify(self, items: Sequence[Settlement], gates: Gates) -> Script[list[Notice]]:
        if self.postmaster is None:
            return notify_nobody(items, gates)
        return notify_of(items, gates, self.postmaster, self.now())

    def _notified(self, future: "asyncio.Future[Notice | None]") -> None:
        if future.cancelled() or future.exception() is not None:
            return
        notice = future.result()
        if notice is not None:
            self.announce(notice)

    def next_seq(self, needed: int) -> int:
        """Return the first of so many numbers that no event of this node has: by time, in
        microseconds.
        """
        first = max(self._last_seq + 1, int(self.now() * 1e6))
        self._last_seq = first + needed
        return first

    async def _register(self) -> None:
        started = time.monotonic()
        self.epoch = await self.database.write(
            lambda: nodes.register(self.node_id, self.now(), self._lease_s)
        )
        self._renewed_at = started

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            epoch = self.epoch
            try:
                await self.renew()
            except Fenced:
                maillog.lease_lost(epoch)
                await self._register_again()
            except RelayError as error:
                maillog.store_trouble(error)

    async def _register_again(self) -> None:
        try:
            await self._register()
        except RelayError as error:
            maillog.store_trouble(error)


def stale(epoch: int) -> Fenced:
    return Fenced(f"the lease of epoch {epoch} ran out")


def handed_over(arrival: Arrival, answer: Accepted, epoch: int) -> Delivery:
    """Return what a claim would bring of a mail that was just stored as leased."""
    mail = named(arrival.mail, answer.pk)
    written_to: Sequence[Recipient] = mail.envelope.recipients
    if answer.barred:
        written_to = [r for r in written_to if r.n not in answer.barred]
    is_begun = arrival.lease is not None and arrival.lease.is_begun
    return delivery_of(mail, written_to, epoch, is_begun=is_begun)
