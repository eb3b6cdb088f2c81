"""A file at a URL that the client named.

The tenant's own login goes along only where the URL is of the tenant's own server.
"""

from relay.attachments.intake import Intake
from relay.attachments.sources.http import HttpFetcher
from relay.errors import AttachmentGone
from relay.model import Tenant
from relay.net.call import Request, authorization
from relay.net.url import UnusableUrlError, Url, origin, parse
from relay.store.attachments import Waiting


class HttpUrl:
    def __init__(self, fetcher: HttpFetcher) -> None:
        self._fetcher = fetcher

    async def fetch(self, tenant: Tenant, wanted: Waiting, intake: Intake) -> None:
        try:
            url = parse(wanted.source)
        except UnusableUrlError as error:
            raise AttachmentGone(f"its URL {error}") from None
        auth = wanted.auth
        if auth is None and is_of(tenant, url):
            auth = tenant.client_auth
        headers = [(b"Accept", b"*/*"), *authorization(auth)]
        await self._fetcher.fetch(Request("GET", url, headers), intake)


def is_of(tenant: Tenant, url: Url) -> bool:
    """Say whether a URL is of the very server that the tenant is called at."""
    try:
        return origin(parse(tenant.client_base_url or "")) == origin(url)
    except UnusableUrlError:
        return False
