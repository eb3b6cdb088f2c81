"""Looking into a mailbox: what came since the last look is read, acted on once, and marked.

Promises: memory is bounded by a few mails, however many there are; a mail that cannot be read is
put aside and stands in nobody's way; a crash at any point loses no mail and repeats no effect, for
what a mail does and that it was read are committed as one, and its mark in the mailbox comes after.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from relay import maillog
from relay.bounces.handle import Effect, Handler
from relay.bounces.imap import Declined, Session
from relay.bounces.question import Reading
from relay.bounces.reader import Reader
from relay.bounces.responses import Mail, batches
from relay.errors import DataRejected, Temporary, Unreadable, Unwritable
from relay.metrics import Metrics
from relay.store.mailbox import Mailbox
from relay.store.mailboxes import MARKS_AT_ONCE, MailboxStore, Met, Turn

MAILS_AT_ONCE = 50
UIDS_AT_ONCE = 200
# Whole receipts that may be in memory at once, whatever the number of mailboxes.
LARGE_AT_ONCE = 2


class Handled(StrEnum):
    """What becomes of a mail in its mailbox once it was acted on."""

    KEEP = "keep"
    SEEN = "seen"
    MOVE = "move"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class VisitSettings:
    """`max_bytes` is how much of a mail is read to see what it is; `first_look_s` how old mail may
    be in a mailbox that is new to us.
    """

    handled: Handled
    handled_folder: str
    aside_folder: str
    max_bytes: int
    max_receipt_bytes: int
    first_look_s: float


@dataclass(frozen=True, slots=True)
class Desk:
    """What every visit uses. `large` bounds the memory that whole receipts take."""

    store: MailboxStore
    reader: Reader
    handler: Handler
    metrics: Metrics
    settings: VisitSettings
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))


class Visit:
    """One mailbox while its connection lasts."""

    def __init__(self, desk: Desk, session: Session, mailbox: Mailbox, turn: Turn) -> None:
        self._desk = desk
        self._session = session
        self._mailbox = mailbox
        self._turn = turn
        # Receipts are legal proof: what holds them is left as it is.
        self._handled = Handled.KEEP if mailbox.is_pec else desk.settings.handled

    async def look(self, now: float) -> None:
        """Handle what is new. Raises MailboxFault, Fenced."""
        validity = await self._session.select(self._mailbox.folder)
        if self._turn.uid_validity != validity:
            self._turn = await self._desk.store.count_from(self._turn, validity)
        is_first = self._turn.last_uid == 0
        oldest_at = now - self._desk.settings.first_look_s if is_first else None
        await self._mark(validity)
        while uids := await self._session.uids_after(self._turn.last_uid, oldest_at):
            for start in range(0, len(uids), UIDS_AT_ONCE):
                await self._pass(uids[start : start + UIDS_AT_ONCE], validity)
            await self._mark(validity)

    async def _pass(self, uids: Sequence[int], validity: int) -> None:
        most_bytes = self._desk.settings.max_bytes
        sizes = await self._session.sizes(uids)
        for batch in batches(sizes, most_bytes, MAILS_AT_ONCE):
            for mail in await self._session.fetch(batch, most_bytes):
                await self._meet(mail, validity)
        await self._desk.store.advance(self._turn, uids[-1])
        self._turn = replace(self._turn, last_uid=uids[-1])

    async def _meet(self, mail: Mail, validity: int) -> None:
        digest = hashlib.sha256(mail.raw).hexdigest()
        is_kept = self._handled is Handled.KEEP
        met = Met(validity, mail.uid, digest, is_readable=True, is_marked=is_kept)
        try:
            mail, reading = await self._read(mail)
            effect = self._desk.handler.effect(self._mailbox, reading, mail.raw)
            outcome = await self._act(met, effect) if effect else "unrelated"
        except (Unreadable, DataRejected, Unwritable) as error:
            await self._put_aside(met, str(error))
            outcome = "unreadable"
        except Temporary:
            raise
        except Exception as error:  # noqa: BLE001 - one mail must not be met again and again
            maillog.unexpected("mailbox", error)
            await self._put_aside(met, f"a fault inside the relay: {type(error).__name__}")
            outcome = "unreadable"
        self._desk.metrics.mail_met(outcome)

    async def _put_aside(self, met: Met, reason: str) -> None:
        await self._desk.store.put_aside(self._turn, replace(met, is_readable=False))
        maillog.mail_put_aside(*self._mailbox.key, uid=met.uid, reason=reason)

    async def _read(self, mail: Mail) -> tuple[Mail, Reading]:
        """Say what a mail is. A receipt is kept, so it is fetched whole."""
        is_pec = self._mailbox.is_pec
        reading = await self._desk.reader.read(mail.raw, is_pec=is_pec)
        if reading.receipt is None or not mail.is_cut:
            return mail, reading
        most_bytes = self._desk.settings.max_receipt_bytes
        async with self._desk.large:
            for whole in await self._session.fetch({mail.uid: mail.size_bytes}, most_bytes):
                return whole, await self._desk.reader.read(whole.raw, is_pec=is_pec)
        return mail, reading

    async def _act(self, met: Met, effect: Effect) -> str:
        done = await self._desk.store.act(self._turn, met, effect.script)
        if done is None:
            return "known"
        await effect.committed(done.result)
        return "handled" if done.is_ours else "unmatched"

    async def _mark(self, validity: int) -> None:
        """Show in the mailbox what was acted on, and what could not be read."""
        mails = await self._desk.store.unmarked(self._turn, validity)
        while mails:
            try:
                await self._show([m.uid for m in mails if m.is_readable])
                await self._show_aside([m.uid for m in mails if not m.is_readable])
            except Declined as error:
                maillog.mark_declined(*self._mailbox.key, reason=str(error))
            await self._desk.store.marked(self._turn, mails)
            is_last = len(mails) < MARKS_AT_ONCE
            mails = [] if is_last else await self._desk.store.unmarked(self._turn, validity)

    async def _show(self, uids: Sequence[int]) -> None:
        if not uids or self._handled is Handled.KEEP:
            return
        if self._handled is Handled.SEEN:
            await self._session.flag(uids, r"\Seen")
        elif self._handled is Handled.MOVE:
            await self._session.move(uids, self._desk.settings.handled_folder)
        else:
            await self._session.delete(uids)

    async def _show_aside(self, uids: Sequence[int]) -> None:
        if not uids or self._handled is Handled.KEEP:
            return
        if self._handled is Handled.MOVE:
            await self._session.move(uids, self._desk.settings.aside_folder)
        else:
            await self._session.flag(uids, r"\Flagged")
