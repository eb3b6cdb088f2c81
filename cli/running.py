"""A node with its REST face, from start to stop: what `serve` and `demo` run."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from admin_api.app import build_app
from admin_api.probes import QueueGauges, Readiness
from admin_api.server import HttpServer
from admin_api.services import AccountTrouble, ApiSettings, Services
from admin_api.uncut import Uncut
from relay import maillog
from relay.app import Node
from relay.config import Config
from relay.crypto import digest
from relay.errors import ConfigError
from relay.store.retention import DAY_S

HTTP_STOP_S = 10.0


class RunningNode:
    def __init__(self, node: Node) -> None:
        self.node = node
        self._uncut = Uncut()
        self.http = HttpServer(build_app(services(node, self._uncut)), self._uncut)

    async def start(self) -> None:
        """Open every port. Raises ConfigError when one cannot be bound."""
        await self.node.start()
        listen, shares = self.node.config.http.listen, self.node.config.workers > 1
        try:
            await self.http.start(listen.host, listen.port, shares_port=shares)
        except OSError as error:
            raise ConfigError(f"http.listen: {listen}: {error.strerror}") from error
        maillog.listening("http", self.http_url)

    async def stop(self) -> None:
        await self.http.stop(HTTP_STOP_S)
        await self.node.stop()

    @property
    def http_url(self) -> str:
        host, port = self.http.address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[RunningNode]:
    """Open, start and in the end stop a node. Raises what `Node.open` raises."""
    node = await Node.open(config)
    running_node = RunningNode(node)
    try:
        await running_node.start()
        yield running_node
    finally:
        await running_node.stop()


async def until_told_to_stop(node: Node) -> None:
    """Wait for SIGTERM or SIGINT; SIGHUP reads the certificates again."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, node.smtp.reload_certificates)
    await told.wait()
    # A second one ends the process at once: nothing that was acknowledged is lost by that.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    maillog.stopping("signal")


def services(node: Node, uncut: Uncut) -> Services:
    config = node.config
    return Services(
        settings=api_settings(config),
        version=version("pillarbox"),
        node=node.node_id,
        database=node.database,
        door=node.door,
        directory=node.stores.directory,
        tenants=node.stores.tenants,
        accounts=node.stores.accounts,
        credentials=node.stores.credentials,
        messages=node.stores.messages,
        attachments=node.stores.attachments,
        batches=node.stores.batches,
        orders=node.orders,
        command_log=node.stores.command_log,
        instance=node.stores.instance,
        retention=node.stores.retention,
        suppressions=node.stores.suppressions,
        events=node.stores.events,
        outbox=node.stores.outbox,
        mailboxes=node.stores.mailboxes,
        receipts=node.stores.receipts,
        metrics=node.metrics,
        verifier=node.verifier,
        wake=node.run_now,
        accounts_in_trouble=lambda: troubles(node),
        why_waiting=node.dispatcher.why_waiting,
        is_active=lambda: True,
        readiness=Readiness(node.database, node.door.check_disk),
        gauges=QueueGauges(node.database, node.stores.events, node.metrics),
        uncut=uncut,
        depot=node.large_files.depot,
        tickets=node.large_files.tickets,
    )


def api_settings(config: Config) -> ApiSettings:
    token, metrics_token = config.http.api_token, config.http.metrics_token
    return ApiSettings(
        admin_token_digest=digest(token.get_secret_value() if token else ""),
        host_name=config.smtp.hostname,
        metrics_token_digest=digest(metrics_token.get_secret_value()) if metrics_token else None,
        max_body_bytes=config.http.max_body_bytes,
        max_message_bytes=config.limits.max_message_bytes,
        max_files=config.attachments.max_files,
        instance_name=config.name,
        keep_s=config.retention.days * DAY_S,
        sync_interval_s=config.callback.interval_s,
    )


def troubles(node: Node) -> list[AccountTrouble]:
    now = node.spool.now()
    return [
        AccountTrouble(o.account.tenant_id, o.account.id, o.health.reason, now + rest_s)
        for o, rest_s in node.dispatcher.troubled
    ]
