"""What a source is."""

from typing import Protocol

from relay.attachments.intake import Intake
from relay.model import Tenant
from relay.store.attachments import Waiting


class Source(Protocol):
    async def fetch(self, tenant: Tenant, wanted: Waiting, intake: Intake) -> None:
        """Bring a file into the intake. Raises AttachmentUnavailable, AttachmentGone."""
        ...
