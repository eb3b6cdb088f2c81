"""The one door. SMTP and REST both hand a `Submission` here; the same rules, the same transaction,
the same id.

Promises: when `accept` returns, message, recipients, content and event are committed and synced.
The content is changed only so: `Received` and `X-Pillarbox-ID` (and `Date`, `Message-ID` where
absent) are put in front; `Bcc` and our own control headers are taken out. Everything else stays
byte for byte.
"""

import time
from collections.abc import Sequence
from dataclasses import field, replace

from relay import maillog
from relay.attachments.offload.arrival import is_to_be_looked_at
from relay.errors import OverQuota, Refused, ShuttingDown
from relay.formats.address import domain_of
from relay.formats.headers import (
    Head,
    Trace,
    assessing,
    controls,
    date_of,
    making_outgoing,
    received,
    scan,
    too_large_header,
)
from relay.ingress.backlog import Backlog, Bounds
from relay.ingress.disk import Disk
from relay.ingress.submission import (
    Held,
    Submission,
    check_sender,
    described,
    is_header_safe,
    with_controls,
    with_measures,
)
from relay.metrics import Metrics
from relay.model import (
    Account,
    ContentTraits,
    NewMail,
    Priority,
    lane_of,
    new_pk,
)
from relay.store.attachments import AttachmentStore
from relay.store.directory import Directory
from relay.store.queue.arrival import Accepted
from relay.store.queue.once import Answers, Once, Repeat
from relay.store.queue.suppressed import refusal
from relay.store.spool import Spool
from relay.store.suppressions import SuppressionStore
from relay.turns import Turn, in_turns
from relay.value import frozen


@frozen
class DoorSettings:
    """`genro` adds the client's id as `X-Genro-Mail-ID`; `waiting` bounds a tenant's queue.
    `lifetime_s` is how long mail is tried.
    """

    host_name: str
    max_message_bytes: int
    max_header_bytes: int
    max_header_fields: int
    max_hops: int
    genro: bool = False
    waiting: Bounds = field(default_factory=Bounds)
    lifetime_s: float = 432_000.0


@frozen
class Candidate:
    """A submission as its control headers want it, and the mail that it becomes, if any."""

    submission: Submission
    verdict: NewMail | Refused


@frozen
class Judged:
    candidates: tuple[Candidate, ...]
    now: float

    @property
    def mails(self) -> list[NewMail]:
        return [c.verdict for c in self.candidates if isinstance(c.verdict, NewMail)]

    def complete(self, stored: Answers) -> Answers:
        """Put what became of the mails in the places of their candidates."""
        answers = iter(stored)
        return [
            c.verdict if isinstance(c.verdict, Refused) else next(answers) for c in self.candidates
        ]

    def completing(self, once: Once) -> Once:
        return replace(once, compose=lambda stored: once.compose(self.complete(stored)))


class Door:
    def __init__(
        self,
        spool: Spool,
        directory: Directory,
        attachments: AttachmentStore,
        metrics: Metrics,
        disk: Disk,
        settings: DoorSettings,
    ) -> None:
        self._spool = spool
        self._attachments = attachments
        self._directory = directory
        self._metrics = metrics
        self._disk = disk
        self._settings = settings
        self._suppressions = SuppressionStore(spool.database, time.monotonic)
        self._backlog = Backlog(spool.database, settings.waiting, time.monotonic)
        self.is_open = True
        # The time that mail is dated by (Unix seconds).
        self.now = spool.now

    async def accept(self, submission: Submission) -> Accepted:
        """Store one mail. Raises Refused, or a Temporary error: then nothing was stored."""
        answer = (await self.accept_all([submission]))[0]
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def accept_all(self, submissions: Sequence[Submission]) -> Answers:
        """Store many in one transaction; one answer for each, in order. Raises a Temporary error
        for all.

        A mail alone may bring its own key; where that is known already, the answer is the first.
        """
        judged = await self._judge(submissions)
        answers = await self._store(judged, own_key(judged))
        return [Accepted(answers.answer)] if isinstance(answers, Repeat) else answers

    async def accept_once(self, submissions: Sequence[Submission], once: Once) -> Answers | Repeat:
        """Store many in one transaction, unless a call with this key did already. `once.compose`
        is given one answer for each submission. Raises Refused where that was another call.
        """
        return await self._store(await self._judge(submissions), once)

    async def check_recipient(self, tenant_id: str, address: str) -> None:
        """Raise Refused for an address that the tenant does not write to. A courtesy: what is
        suppressed later than asked is seen when the mail is stored.
        """
        if await self._suppressions.covers(tenant_id, address):
            raise refusal(f"<{address}>")

    def check_open(self) -> None:
        """Raise ShuttingDown while no mail is taken (`is_open` is false), StoreFull when the
        database's disk is below its watermark.
        """
        if not self.is_open:
            raise ShuttingDown("this node takes no mail: it is being drained")
        self._disk.check()

    def check_disk(self) -> None:
        """Raise StoreFull when the database's disk is below its watermark."""
        self._disk.check()

    def check_room(self, tenant_id: str) -> None:
        """Raise what is known to stand against the tenant's next mail before its content is sent:
        ShuttingDown, StoreFull, OverQuota.
        """
        self.check_open()
        self._backlog.check(tenant_id)

    async def _judge(self, submissions: Sequence[Submission]) -> "Judged":
        self.check_open()
        now = self.now()
        candidates = []
        turn = Turn()
        for place, submission in enumerate(submissions):
            # A microsecond apart, so that the order of the call is the order of the queue.
            candidates.append(await self._candidate(submission, now + place * 1e-6))
            if turn.is_long:
                await turn.end()
        return Judged(tuple(candidates), now)

    async def _candidate(self, submission: Submission, now: float) -> "Candidate":
        try:
            head = self._head(submission)
            if submission.credential is not None:
                submission = with_controls(submission, controls(head, now))
                check_sender(submission, head)
            account = await self._account(submission)
            if self._backlog.is_bounded:
                await self._backlog.enter(submission.tenant_id, len(submission.content))
            tenant = await self._directory.tenant(submission.tenant_id)
            wait_s = submission.due_at - now if submission.due_at else 0.0
            held = Held(wait_s, self._settings.lifetime_s)
            submission = with_measures(submission, account, tenant, held)
            mail = await self._new_mail(submission, head, account, now)
            if await is_to_be_looked_at(tenant, mail.content):
                mail = replace(mail, is_prepared=False)
            return Candidate(submission, mail)
        except Refused as refused:
            return Candidate(submission, refused)

    async def _store(self, judged: "Judged", once: Once | None) -> Answers | Repeat:
        mails = judged.mails
        self._disk.spend(sum(len(mail.content) for mail in mails))
        stored: Answers | Repeat = []
        if mails and once is None:
            stored = await self._spool.accept_all(mails)
        elif mails and once is not None:
            stored = await self._spool.accept_once(mails, judged.completing(once))
        if isinstance(stored, Repeat):
            return stored
        answers = judged.complete(stored)
        duration_s = self.now() - judged.now
        for candidate, answer in zip(judged.candidates, answers, strict=True):
            self._tell(candidate.submission, answer, duration_s)
        return answers

    def _head(self, submission: Submission) -> Head:
        if len(submission.content) > self._settings.max_message_bytes:
            raise Refused(
                "the message is too large", reason="too large", code=552, enhanced="5.3.4"
            )
        bounds = self._settings.max_header_bytes, self._settings.max_header_fields
        head = submission.head
        if head is None:
            head = scan(submission.content, max_bytes=bounds[0], max_fields=bounds[1])
        elif head.size_bytes > bounds[0] or len(head.fields) > bounds[1]:
            raise too_large_header()
        if head.count("received") > self._settings.max_hops:
            raise Refused("too many hops, this mail is in a loop", code=554, enhanced="5.4.6")
        return head

    async def _account(self, submission: Submission) -> Account | None:
        """Return the account that is named; None when the mail is routed."""
        accounts = await self._directory.accounts(submission.tenant_id)
        allowed = submission.credential.accounts if submission.credential else ()
        if submission.account_id is None:
            if not has_route(accounts, domain_of(submission.sender)):
                raise Refused(
                    "no account can carry this mail",
                    reason="missing account_id",
                    code=550,
                    enhanced="5.3.5",
                )
            return first_of(accounts, allowed)
        account = next((a for a in accounts if a.id == submission.account_id), None)
        if account is None or (allowed and account.id not in allowed):
            raise Refused(
                "account not found for tenant",
                reason="account not found for tenant",
                code=550,
                enhanced="5.7.1",
            )
        return account

    async def _new_mail(
        self, submission: Submission, head: Head, account: Account | None, now: float
    ) -> NewMail:
        pk = new_pk(now)
        account_id = account.id if account else None
        added = self._added(submission, head, pk, now)
        content = await in_turns(making_outgoing(submission.content, head, prepend=added))
        id = submission.id or pk
        files = self._attachments.sealed(submission.attachments, submission.tenant_id, id)
        return NewMail(
            pk=pk,
            id=id,
            id_given=submission.id is not None,
            tenant_id=submission.tenant_id,
            account_id=account_id,
            lane=lane_of(submission.tenant_id, account_id, domain_of(submission.sender)),
            priority=Priority.MEDIUM if submission.priority is None else submission.priority,
            envelope=submission.envelope,
            content=content,
            traits=await traits_of(submission, content),
            ingress=submission.ingress,
            accepted_at=now,
            due_at=submission.due_at,
            expires_at=submission.expires_at(now),
            max_attempts=submission.max_attempts,
            on_unknown=submission.on_unknown,
            batch_code=submission.batch_code,
            message_id=(head.first("Message-ID") or self._message_id(pk)).strip(),
            metadata=submission.metadata,
            record=submission.record or described(head, submission),
            is_pec=bool(account and account.is_pec_account),
            keeps_sender=submission.keeps_sender,
            takes_suppressed=submission.takes_suppressed,
            attachments=files,
            is_prepared=all(file.source is None for file in files),
            late_at=submission.late_at,
            repairs=submission.repairs,
        )

    def _added(self, submission: Submission, head: Head, pk: str, now: float) -> bytes:
        """Return the fields that are put in front of a mail."""
        date = date_of(int(now))
        # What comes back is recognised by the second.
        added = [received(self._trace(submission, pk, date)), f"X-Pillarbox-ID: {pk}\r\n".encode()]
        if not head.has("Date"):
            added.append(f"Date: {date}\r\n".encode())
        if not head.has("Message-ID"):
            added.append(f"Message-ID: {self._message_id(pk)}\r\n".encode())
        if self._settings.genro and submission.id and is_header_safe(submission.id):
            added.append(f"X-Genro-Mail-ID: {submission.id}\r\n".encode())
        return b"".join(added)

    def _message_id(self, pk: str) -> str:
        return f"<{pk}@{self._settings.host_name}>"

    def _trace(self, submission: Submission, pk: str, date: str) -> Trace:
        origin = submission.origin
        return Trace(
            helo=origin.helo or "",
            peer_ip=origin.ip or "",
            host=self._settings.host_name,
            protocol=origin.protocol,
            pk=pk,
            date=date,
            level=origin.level,
        )

    def _tell(self, submission: Submission, answer: Accepted | Refused, duration_s: float) -> None:
        if isinstance(answer, OverQuota):
            self._backlog.note(submission.tenant_id, answer)
        if isinstance(answer, Refused):
            maillog.refused(
                tenant=submission.tenant_id,
                ingress=submission.ingress,
                peer=submission.origin.ip or "",
                reason=str(answer),
                code=answer.code,
            )
            return
        self._metrics.accepted(submission.tenant_id, submission.ingress, duration_s)
        if submission.repairs and submission.credential:
            username = submission.credential.username
            self._metrics.repaired(submission.tenant_id, username, submission.repairs)
        maillog.accepted(
            answer.pk,
            tenant=submission.tenant_id,
            ingress=submission.ingress,
            size_bytes=len(submission.content),
            recipients=len(submission.recipients),
            repairs=",".join(submission.repairs) or None,
        )


async def traits_of(submission: Submission, content: bytes) -> ContentTraits:
    """Return what the mail needs; of one that was composed here it is known."""
    if submission.traits is not None:
        return submission.traits
    return await in_turns(assessing(content, is_dotless=submission.is_dotless))


def own_key(judged: Judged) -> Once | None:
    """Return the key that a mail alone brings in its header. What else is in it may differ when it
    is sent again: its date, its boundaries.
    """
    submission = judged.candidates[0].submission if len(judged.candidates) == 1 else None
    if submission is None or submission.idempotency_key is None:
        return None
    return Once(
        submission.tenant_id, submission.ingress.value, submission.idempotency_key, "", first_pk
    )


def first_pk(answers: Answers) -> str | None:
    return answers[0].pk if isinstance(answers[0], Accepted) else None


def has_route(accounts: Sequence[Account], sender_domain: str) -> bool:
    return any(not a.sender_domains or sender_domain in a.sender_domains for a in accounts)


def first_of(accounts: Sequence[Account], allowed: Sequence[str]) -> Account | None:
    """Return the account that a login's mail leaves by, None where the login is bound to none."""
    bound = [a for a in accounts if a.id in allowed]
    return min(bound, key=lambda a: a.rank, default=None)
