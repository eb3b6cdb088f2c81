"""A mail becomes complete: its files are fetched, put in or turned into links, and the whole is
stored, once. Every attempt sends these bytes.

Files come to disk; memory is asked for when all are there, for as long as the mail is put together.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from relay import maillog
from relay.attachments.fetch import Fetcher, Got
from relay.attachments.large import Fetched, LargeFiles, Link, Reject, Rewritten, Subject
from relay.budget import Budget
from relay.errors import AttachmentGone, AttachmentUnavailable, Held, SecretDamaged
from relay.formats.compose import Attachment, file_fields
from relay.formats.headers import assess
from relay.formats.insertion import BLOCK_BYTES, Insertion, encoded_size, inserted
from relay.model import Delivery
from relay.store.attachments import AttachmentStore, Done, Prepared, TakenOut, Waiting
from relay.store.directory import Directory
from relay.store.queue.claim import INLINE_BYTES
from relay.store.spool import Spool


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """`folder` takes the files under way. A mail is at most `max_message_bytes`, a file that
    becomes a link as much as `LargeFiles` says.
    """

    folder: Path
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class File:
    """A file that is there; with a link it does not travel."""

    wanted: Waiting
    got: Got
    link: Link | None = None

    @property
    def size_bytes(self) -> int:
        return self.got.received.size_bytes

    @property
    def done(self) -> Done:
        told = (self.link.url, self.link.expires_at) if self.link else (None, None)
        sha256 = self.got.received.sha256
        return Done(self.wanted.n, self.got.how, self.size_bytes, sha256, *told)


class Preparer:
    def __init__(
        self,
        spool: Spool,
        store: AttachmentStore,
        directory: Directory,
        fetcher: Fetcher,
        large: LargeFiles,
        budget: Budget,
        settings: PrepareSettings,
    ) -> None:
        self._spool = spool
        self._store = store
        self._directory = directory
        self._fetcher = fetcher
        self._large = large
        self._budget = budget
        self._settings = settings

    async def prepare(self, delivery: Delivery) -> Delivery:
        """Return the delivery as it is sent. Raises AttachmentUnavailable when it is to be tried
        again, AttachmentGone when it fails, Held, Fenced, StoreUnavailable.
        """
        tenant = await self._directory.tenant(delivery.tenant_id)
        if tenant is None:
            raise Held("the tenant of this mail is gone")
        if tenant.damaged:
            raise AttachmentUnavailable("settings of its tenant cannot be read")
        subject = Subject(delivery, tenant)
        with ExitStack() as opened:
            files = await self._files(subject, opened)
            missing_bytes = sum(encoded_size(f.size_bytes) for f in files if f.link is None)
            async with self._budget.hold(delivery.lane, delivery.size_bytes + missing_bytes):
                return await self._completed(subject, files)

    async def _files(self, subject: Subject, opened: ExitStack) -> list[File]:
        """Bring what is missing, and say of each whether it travels; `opened` closes them."""
        files: list[File] = []
        room_bytes = self._settings.max_message_bytes - subject.delivery.size_bytes
        for wanted in await self._waiting(subject.delivery):
            file = await self._placed(subject, wanted, room_bytes, opened)
            room_bytes -= 0 if file.link else encoded_size(file.size_bytes)
            if room_bytes < 0:
                raise AttachmentGone(named(wanted, "makes the mail larger than is accepted"))
            files.append(file)
        return files

    async def _waiting(self, delivery: Delivery) -> list[Waiting]:
        try:
            return await self._store.waiting(delivery)
        except SecretDamaged as error:
            maillog.unexpected("attachments", error)
            raise AttachmentUnavailable("the login of an attachment cannot be read") from error

    async def _placed(
        self, subject: Subject, wanted: Waiting, room_bytes: int, opened: ExitStack
    ) -> File:
        linked_bytes = self._large.most_bytes(subject.tenant)
        most_bytes = max(room_bytes, 0) * 3 // 4 if linked_bytes is None else linked_bytes
        try:
            got = await self._fetcher.fetch(subject.delivery.pk, subject.tenant, wanted, most_bytes)
        except (AttachmentGone, AttachmentUnavailable) as error:
            raise type(error)(named(wanted, str(error))) from error
        received = got.received
        opened.callback(received.file.close)
        placed = await self._large.place(
            subject,
            Fetched(
                wanted.filename,
                wanted.mime_type,
                received.size_bytes,
                received.sha256,
                received.file,
            ),
        )
        if isinstance(placed, Reject):
            raise AttachmentGone(placed.reason)
        return File(wanted, got, placed if isinstance(placed, Link) else None)

    async def _completed(self, subject: Subject, files: Sequence[File]) -> Delivery:
        delivery = subject.delivery
        rewritten = await self._rewritten(subject, files)
        prepared = await self._prepared(rewritten, files)
        if not await self._store.complete(delivery, prepared):
            raise Held("another delivery of this mail has completed it")
        size_bytes = len(prepared.content)
        return replace(
            delivery,
            is_prepared=True,
            size_bytes=size_bytes,
            traits=prepared.traits,
            # A large one is read back when its turn comes.
            content=prepared.content if size_bytes <= INLINE_BYTES else None,
        )

    async def _rewritten(self, subject: Subject, files: Sequence[File]) -> Rewritten | Reject:
        content = await self._spool.content(subject.delivery.pk)
        if content is None:
            raise AttachmentGone("the content of this mail is gone")
        travelling = [f for f in files if f.link is None]
        if travelling:
            content = await self._assembled(content, travelling)
        links = [f.link for f in files if f.link]
        return await self._large.rewrite(subject, content, links)

    async def _assembled(self, content: bytes, files: Sequence[File]) -> bytes:
        try:
            return await asyncio.to_thread(assembled, content, files, self._settings.folder)
        except OSError as error:
            maillog.unexpected("attachments", error)
            raise AttachmentUnavailable("the mail cannot be put together for now") from error

    async def _prepared(self, rewritten: Rewritten | Reject, files: Sequence[File]) -> Prepared:
        if isinstance(rewritten, Reject):
            raise AttachmentGone(rewritten.reason)
        # A mail that came whole was measured at the door, before our own fields were added.
        if files and len(rewritten.content) > self._settings.max_message_bytes:
            raise AttachmentGone("the mail with its attachments is larger than is accepted")
        return Prepared(
            rewritten.content,
            await asyncio.to_thread(assess, rewritten.content),
            tuple(file.done for file in files),
            tuple(taken_out(link) for link in rewritten.taken_out),
        )


def assembled(content: bytes, files: Sequence[File], folder: Path) -> bytes:
    """Return the mail with its files put in; blocks the thread.

    On disk first: then no moment needs more than the result in memory.
    """
    insertions = [insertion_of(file) for file in files]
    with tempfile.TemporaryFile(dir=folder) as whole:
        for piece in inserted(content, insertions):
            whole.write(piece)
        whole.seek(0)
        return whole.raw.readall()


def insertion_of(file: File) -> Insertion:
    wanted = file.wanted
    described = Attachment(wanted.filename, wanted.mime_type, None, wanted.content_id)
    fields = file_fields(described, wanted.disposition)
    return Insertion(wanted.from_end_bytes, fields, file.got.received.blocks(BLOCK_BYTES))


def taken_out(link: Link) -> TakenOut:
    return TakenOut(
        link.filename, link.mime_type, link.size_bytes, link.sha256, link.url, link.expires_at
    )


def named(wanted: Waiting, text: str) -> str:
    return f"attachment {wanted.filename}: {text}"
