"""A file that the tenant's own server brings: asked by POST, answered with its bytes."""

import json

from relay.attachments.intake import Intake
from relay.attachments.sources.http import HttpFetcher
from relay.errors import AttachmentGone
from relay.model import Tenant
from relay.net.call import Request, authorization
from relay.net.url import UnusableUrlError, beneath
from relay.store.attachments import Waiting

DEFAULT_PATH = "/mail-proxy/attachments"


class Endpoint:
    def __init__(self, fetcher: HttpFetcher) -> None:
        self._fetcher = fetcher

    async def fetch(self, tenant: Tenant, wanted: Waiting, intake: Intake) -> None:
        if not tenant.client_base_url:
            raise AttachmentGone("the tenant has no client_base_url to ask for it")
        try:
            url = beneath(tenant.client_base_url, tenant.client_attachment_path or DEFAULT_PATH)
        except UnusableUrlError as error:
            raise AttachmentGone(f"the tenant's client_base_url {error}") from None
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Accept", b"*/*"),
            *authorization(wanted.auth or tenant.client_auth),
        ]
        body = json.dumps({"storage_path": wanted.source}).encode()
        await self._fetcher.fetch(Request("POST", url, headers, body), intake)
