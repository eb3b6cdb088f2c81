"""What brings the files of mail, built from the settings."""

import time
from dataclasses import dataclass

from relay.app.settings import cache_settings, pace, reach, user_agent
from relay.app.stores import Stores
from relay.attachments.cache import Cache
from relay.attachments.fetch import Fetcher, FetchSettings
from relay.attachments.large import LargeFiles
from relay.attachments.prepare import Preparer, PrepareSettings
from relay.attachments.sources.endpoint import Endpoint
from relay.attachments.sources.filesystem import Filesystem
from relay.attachments.sources.http import HttpFetcher
from relay.attachments.sources.http_url import HttpUrl
from relay.attachments.sources.source import Source
from relay.budget import Budget
from relay.config import Config
from relay.config.values import IpNetwork
from relay.metrics import Metrics
from relay.model import FetchMode
from relay.net.http import HttpClient
from relay.store.spool import Spool


@dataclass(frozen=True, slots=True)
class Files:
    preparer: Preparer
    fetchers: tuple[HttpFetcher, ...]

    async def close(self) -> None:
        for fetcher in self.fetchers:
            await fetcher.close()


def open_files(
    config: Config,
    stores: Stores,
    spool: Spool,
    large: LargeFiles,
    budget: Budget,
    metrics: Metrics,
) -> Files:
    networks = config.attachments.allowed_networks
    anywhere = http_fetcher(config, *networks)
    # Reports go to the tenant's server as well.
    tenants_own = http_fetcher(config, *networks, *config.callback.allowed_networks)
    sources: dict[FetchMode, Source] = {
        FetchMode.HTTP_URL: HttpUrl(anywhere),
        FetchMode.ENDPOINT: Endpoint(tenants_own),
        FetchMode.FILESYSTEM: Filesystem(config.attachments.roots, config.attachments.timeout_s),
    }
    # Beside the database; a node of the same instance has its own.
    folder = config.instance_dir / "files" / spool.node_id
    cache = Cache(cache_settings(config), folder / "cache", time.monotonic, metrics.cache_asked)
    settings = FetchSettings(
        folder, config.attachments.concurrency, config.attachments.concurrency_per_tenant
    )
    preparer = Preparer(
        spool,
        stores.attachments,
        stores.directory,
        Fetcher(sources, cache, metrics, settings),
        large,
        budget,
        PrepareSettings(folder, config.limits.max_message_bytes),
    )
    return Files(preparer, (anywhere, tenants_own))


def http_fetcher(config: Config, *networks: IpNetwork) -> HttpFetcher:
    client = HttpClient(
        reach(config, *networks),
        max_connections=config.attachments.concurrency,
        user_agent=user_agent(),
    )
    return HttpFetcher(client, pace(config))
