"""Bringing one file: from the cache, else from its source.

How many are fetched at once is bounded for each tenant and in all.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relay import maillog
from relay.attachments.cache import Cache
from relay.attachments.intake import Intake, Received
from relay.attachments.sources.source import Source
from relay.errors import AttachmentGone, RelayError
from relay.metrics import Metrics
from relay.model import FetchMode, Tenant
from relay.store.attachments import Waiting

FETCHED = "fetched"
# What comes from elsewhere is worth keeping; a file of this machine is here already.
CACHED = frozenset({FetchMode.HTTP_URL, FetchMode.ENDPOINT})


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """`folder` takes the files under way."""

    folder: Path
    concurrency: int
    concurrency_per_tenant: int


@dataclass(frozen=True, slots=True)
class Got:
    """A file that is there; `how` is fetched, or the tier of the cache that had it."""

    received: Received
    how: str


class Gates:
    """How many files are fetched at once."""

    def __init__(self, total: int, per_tenant: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._of: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(per_tenant)
        )

    @asynccontextmanager
    async def enter(self, tenant_id: str) -> AsyncIterator[None]:
        async with self._of[tenant_id], self._all:
            yield


class Fetcher:
    """Brings a file from the cache, else from its source."""

    def __init__(
        self,
        sources: Mapping[FetchMode, Source],
        cache: Cache,
        metrics: Metrics,
        settings: FetchSettings,
    ) -> None:
        self._sources = sources
        self._cache = cache
        self._metrics = metrics
        self._folder = settings.folder
        self._gates = Gates(settings.concurrency, settings.concurrency_per_tenant)

    async def fetch(self, pk: str, tenant: Tenant, wanted: Waiting, max_bytes: int) -> Got:
        """Bring it. Raises AttachmentUnavailable, AttachmentGone."""
        started_at = time.monotonic()
        try:
            got = await self._bring(tenant, wanted, max_bytes)
        except RelayError as error:
            detail = str(error.__cause__ or "")
            maillog.attachment_failed(
                pk, tenant=tenant.id, n=wanted.n, mode=wanted.mode, reason=str(error), detail=detail
            )
            raise
        maillog.attachment_got(
            pk,
            tenant=tenant.id,
            n=wanted.n,
            mode=wanted.mode,
            how=got.how,
            size_bytes=got.received.size_bytes,
            duration_s=time.monotonic() - started_at,
        )
        return got

    async def _bring(self, tenant: Tenant, wanted: Waiting, max_bytes: int) -> Got:
        md5 = wanted.md5 if wanted.mode in CACHED else None
        async with self._gates.enter(tenant.id):
            hit = await self._cache.find(tenant.id, md5) if md5 else None
            if hit is None:
                return await self._fetched(tenant, wanted, max_bytes, md5)
        if hit.received.size_bytes > max_bytes:
            hit.received.file.close()
            raise AttachmentGone(f"is larger than {max_bytes} bytes")
        return Got(hit.received, hit.tier)

    async def _fetched(
        self, tenant: Tenant, wanted: Waiting, max_bytes: int, md5: str | None
    ) -> Got:
        started_at = time.monotonic()
        intake = Intake(self._folder, max_bytes)
        try:
            await self._sources[wanted.mode].fetch(tenant, wanted, intake)
            received = await intake.finish()
            if md5 and not await self._cache.keep(tenant.id, md5, received):
                maillog.attachment_differs(tenant.id, filename=wanted.filename)
        except BaseException:
            intake.discard()
            raise
        self._metrics.attachment_fetched(time.monotonic() - started_at)
        return Got(received, FETCHED)
