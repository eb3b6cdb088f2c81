"""Looks into the mailboxes that mail comes back to: each in a task of its own, so a server that is
down, silent or lies holds up no other mailbox, and never a mail that goes out.

A connection is kept while there is room: the server pushes where it can (IDLE), and is asked again
after `poll_s` whatever it can. Correctness depends on no push and no wake-up.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from relay import maillog
from relay.bounces.imap import ImapLimits, Session
from relay.bounces.visit import Desk, Visit
from relay.errors import Fenced, MailboxFault, RelayError
from relay.store.mailbox import Key, Mailbox
from relay.store.mailboxes import Conclusion, Seat, Turn
from relay.store.spool import Spool

AGAIN_S = 5.0
# What comes together is looked at together; and a server that pushes without end is not followed.
LULL_S = 0.1
NOTE_EVERY_S = 30.0
SIGNALS = frozenset({"account", "instance", "mailboxes"})


@dataclass(frozen=True, slots=True)
class PollerSettings:
    """`poll_s` is for the mailboxes of accounts; `look_s` is how often we see which mailboxes there
    are.
    """

    poll_s: float
    look_s: float
    max_mailboxes: int
    first_rest_s: float
    longest_rest_s: float
    limits: ImapLimits


@dataclass(frozen=True, slots=True)
class _Run:
    """A mailbox that this node reads, in one version of its settings."""

    version: str
    task: "asyncio.Task[None]"


class Poller:
    def __init__(self, spool: Spool, desk: Desk, settings: PollerSettings) -> None:
        self._spool = spool
        self._store = desk.store
        self._desk = desk
        self._settings = settings
        self._runs: dict[Key, _Run] = {}
        self._begins_anew = False
        self._others_wait = False
        self._wakened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        spool.database.on_signal(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let go of every mailbox: what was being handled is committed, or is handled again."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._end(list(self._runs))
        await self._desk.reader.close()

    def _on_signal(self, topic: str, _payload: str) -> None:
        if topic in SIGNALS:
            self._begins_anew = self._begins_anew or topic == "mailboxes"
            self._wakened.set()

    async def _run(self) -> None:
        in_trouble = False
        while True:
            try:
                await self._see()
                in_trouble = False
            except RelayError as error:
                if not in_trouble:
                    maillog.store_trouble(error)
                in_trouble = True
            except Exception as error:  # noqa: BLE001 - this loop must live
                maillog.unexpected("mailboxes", error)
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.look_s):
                await self._wakened.wait()
        self._wakened.clear()

    async def _see(self) -> None:
        """End what is not ours to read any more, or was changed; begin what is due."""
        seats = {seat.key: seat for seat in await self._store.seats(self._spool.epoch)}
        begins_anew, self._begins_anew = self._begins_anew, False
        await self._end(
            [
                key
                for key, run in self._runs.items()
                if begins_anew or key not in seats or seats[key].version != run.version
            ]
        )
        now = self._spool.now()
        due = [s for s in seats.values() if s.due_at <= now and s.key not in self._runs]
        room = self._settings.max_mailboxes - len(self._runs)
        for seat in due[:room]:
            self._runs[seat.key] = _Run(seat.version, asyncio.create_task(self._guarded(seat)))
        self._others_wait = len(due) > room

    async def _end(self, keys: list[Key]) -> None:
        runs = [self._runs.pop(key) for key in keys]
        for run in runs:
            run.task.cancel()
        await asyncio.gather(*(run.task for run in runs), return_exceptions=True)

    async def _guarded(self, seat: Seat) -> None:
        """Read one mailbox; what goes wrong with it is its own, and it rests a while."""
        try:
            await self._read(seat)
        except Fenced:
            maillog.mailbox_fenced(*seat.key)
        except RelayError as error:
            maillog.store_trouble(error)
            await asyncio.sleep(AGAIN_S)
        except Exception as error:  # noqa: BLE001 - a fault with one mailbox must not silence the others
            maillog.unexpected("mailbox", error)
            await asyncio.sleep(AGAIN_S)
        finally:
            self._runs.pop(seat.key, None)
            if self._others_wait:
                self._wakened.set()

    async def _read(self, seat: Seat) -> None:
        mailbox = await self._store.open(seat.key, self._settings.poll_s)
        turn = await self._store.take(mailbox, self._spool.epoch) if mailbox else None
        if mailbox is None or turn is None:
            return
        stay = _Stay(self._desk, self._settings.limits, self._spool.now)
        try:
            await stay.read(mailbox, turn, lambda: self._others_wait)
        except MailboxFault as fault:
            await self._put_off(mailbox, turn, fault, was_well=stay.was_well)
            return
        due_at = self._spool.now() + mailbox.poll_s
        await self._store.conclude(turn, Conclusion(due_at))

    async def _put_off(
        self, mailbox: Mailbox, turn: Turn, fault: MailboxFault, *, was_well: bool
    ) -> None:
        """Try again later, the later the longer it lasts."""
        now = self._spool.now()
        failures = 1 if was_well else turn.failures + 1
        since = now if was_well or turn.failing_since is None else turn.failing_since
        wait_s = self._rest_s(failures)
        self._desk.metrics.mailbox_failed(*mailbox.key)
        maillog.mailbox_failed(
            *mailbox.key, host=mailbox.host, reason=str(fault), failures=failures, wait_s=wait_s
        )
        conclusion = Conclusion(now + wait_s, failures, since, str(fault))
        await self._store.conclude(turn, conclusion)

    def _rest_s(self, failures: int) -> float:
        longest_s = self._settings.longest_rest_s
        rest_s = min(self._settings.first_rest_s * 2.0 ** min(failures - 1, 30), longest_s)
        return rest_s * random.uniform(0.8, 1)  # noqa: S311 - spreads load, guards nothing


class _Stay:
    """One connection to a mailbox, for as long as it is good and nobody else needs the room."""

    def __init__(self, desk: Desk, limits: ImapLimits, now: Callable[[], float]) -> None:
        self._desk = desk
        self._limits = limits
        self._now = now
        self._noted_at: float | None = None

    @property
    def was_well(self) -> bool:
        """Whether the mailbox was looked at once at least."""
        return self._noted_at is not None

    async def read(self, mailbox: Mailbox, turn: Turn, must_go: Callable[[], bool]) -> None:
        session = await Session.open(mailbox, self._limits)
        try:
            visit = Visit(self._desk, session, mailbox, turn)
            while True:
                await visit.look(self._now())
                await self._note(mailbox, turn)
                if must_go():
                    return
                await self._wait(session, mailbox.poll_s)
        finally:
            await session.close()

    async def _wait(self, session: Session, wait_s: float) -> None:
        if session.can_idle:
            await session.idle(wait_s)
            await asyncio.sleep(LULL_S)
        else:
            await asyncio.sleep(wait_s)

    async def _note(self, mailbox: Mailbox, turn: Turn) -> None:
        """Say that the mailbox answers; seldom, since nobody needs it to the second."""
        now = self._now()
        if self._noted_at is not None and now < self._noted_at + NOTE_EVERY_S:
            return
        await self._desk.store.looked(turn)
        if not self.was_well and turn.failures:
            maillog.mailbox_recovered(*mailbox.key)
        self._noted_at = now
