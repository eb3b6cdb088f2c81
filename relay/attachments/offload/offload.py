"""What becomes of large files: the preparer's questions, answered by what the tenant wants.

warn: the mail is sent, and says on itself that it was large. reject: it fails. rewrite: the file
is stored, and the mail has a link. A mail that is signed or encrypted is never rewritten.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

from relay import maillog
from relay.attachments.large import Fetched, Insert, Link, Reject, Rewritten, Subject
from relay.attachments.offload.look import Found, Look, look
from relay.attachments.offload.policy import Action, Policy, policy_of
from relay.attachments.offload.uploads import LargeFile, Uploads
from relay.errors import ContentRefused
from relay.formats.links import FileLink, size_text
from relay.formats.parts import with_links
from relay.model import Tenant
from relay.store.warnings import WarningStore

READ_BYTES = 256 * 1024


class Offload:
    """The `LargeFiles` of a node."""

    def __init__(self, uploads: Uploads, warnings: WarningStore, max_file_bytes: int) -> None:
        self._uploads = uploads
        self._warnings = warnings
        self._max_file_bytes = max_file_bytes

    def most_bytes(self, tenant: Tenant) -> int | None:
        policy = policy_of(tenant)
        return self._max_file_bytes if policy and policy.action is Action.REWRITE else None

    async def place(self, subject: Subject, fetched: Fetched) -> Insert | Link | Reject:
        policy = policy_of(subject.tenant)
        if policy is None or fetched.size_bytes <= policy.max_bytes:
            return Insert()
        if policy.action is Action.WARN:
            # Told once for the whole mail, when all that travels is in it.
            return Insert()
        file = LargeFile(
            fetched.filename,
            fetched.mime_type,
            fetched.size_bytes,
            fetched.sha256,
            partial(blocks, fetched.file),
        )
        if policy.action is Action.REJECT:
            return Reject(too_large([file], policy))
        return await self._uploads.store(subject.delivery, policy, file)

    async def rewrite(
        self, subject: Subject, content: bytes, links: Sequence[Link]
    ) -> Rewritten | Reject:
        policy = policy_of(subject.tenant)
        is_small = policy is None or len(content) <= policy.max_bytes
        if is_small and not links:
            return Rewritten(content)
        limit = len(content) if policy is None else policy.max_bytes
        try:
            seen = await asyncio.to_thread(look, content, limit)
        except ContentRefused as refused:
            return await self._unread(subject, policy, content, refused)
        if policy is not None and seen.large and policy.action is Action.REJECT:
            return Reject(too_large([found.file for found in seen.large], policy))
        taken = await self._taken_out(subject, policy, seen)
        if not taken and not links:
            return Rewritten(content)
        return await self._rewritten(content, seen, taken, links)

    async def _taken_out(
        self, subject: Subject, policy: Policy | None, seen: Look
    ) -> list[tuple[Found, Link]]:
        """Store what is to leave the mail, or warn that it does not."""
        if policy is None or not seen.large:
            return []
        if policy.action is Action.WARN or seen.sealed:
            text = too_large([found.file for found in seen.large], policy)
            await self._warn(subject, f"{text}; {seen.sealed}" if seen.sealed else text)
            return []
        return [
            (found, await self._uploads.store(subject.delivery, policy, found.file))
            for found in seen.large
        ]

    async def _rewritten(
        self,
        content: bytes,
        seen: Look,
        taken: Sequence[tuple[Found, Link]],
        links: Sequence[Link],
    ) -> Rewritten | Reject:
        new = [link for _, link in taken]
        told = [FileLink(link.filename, link.size_bytes, link.url) for link in (*links, *new)]
        removed = [found.leaf for found, _ in taken]
        try:
            rewritten = await asyncio.to_thread(with_links, content, seen.tree, removed, told)
        except ContentRefused as refused:
            return Reject(str(refused))
        return Rewritten(rewritten, tuple(new))

    async def _unread(
        self, subject: Subject, policy: Policy | None, content: bytes, refused: ContentRefused
    ) -> Rewritten | Reject:
        """Decide on a mail whose parts cannot be told."""
        if policy is None or policy.action is Action.REJECT:
            return Reject(str(refused))
        await self._warn(subject, f"its large files were not looked for: {refused}")
        return Rewritten(content)

    async def _warn(self, subject: Subject, text: str) -> None:
        await self._warnings.warn(subject.delivery, text)
        maillog.warned(subject.delivery.pk, tenant=subject.tenant.id, reason=text)


def too_large(files: Sequence[LargeFile], policy: Policy) -> str:
    named = ", ".join(f"{file.name} ({size_text(file.size_bytes)})" for file in files[:5])
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return f"too large: {named}{more}; the limit is {size_text(policy.max_bytes)}"


def blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(READ_BYTES):
        yield block
