"""A node with its REST face, from start to stop: what `serve` and `demo` run, and, without its
ports, what a command runs that works on an instance which does not.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from admin_api.app import build_app
from admin_api.operation import Listening, Operation
from admin_api.probes import QueueGauges, Readiness
from admin_api.server import HttpServer
from admin_api.services import AccountTrouble, ApiSettings, Services
from admin_api.uncut import Uncut
from cli.shown_settings import shown_settings
from cli.token_file import token_watch
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
        operation = operation_of(node, self.listening)
        app = build_app(services(node, self._uncut, operation))
        self.http = HttpServer(app, self._uncut)

    async def start(self) -> None:
        """Open every port. Raises ConfigError when one cannot be bound."""
        await self.node.start()
        listen, shares = self.node.config.http.listen, self.node.config.workers > 1
        try:
            await self.http.start(listen.host, listen.port, shares_port=shares)
        except OSError as error:
            raise ConfigError(f"http.listen: {listen}: {error.strerror}") from error
        maillog.listening("http", self.http_url)
        try:
            await self._start_local(self.node.socket_path)
        except ConfigError as error:
            # Some network file systems have no sockets. Mail does not wait for the command line.
            maillog.local_socket_failed(str(error))

    async def stand_by(self, socket: Path) -> None:
        """Store and show, and send nothing; listen on this socket only."""
        await self.node.stand_by()
        await self._start_local(socket)

    async def stand_down(self) -> None:
        """End what `stand_by` began."""
        await self.http.stop(HTTP_STOP_S)
        await self.node.stand_down()

    async def _start_local(self, socket: Path) -> None:
        try:
            await self.http.start_unix(socket)
        except OSError as error:
            raise ConfigError(f"{socket}: {error.strerror or error}") from error

    async def stop(self) -> None:
        await self.http.stop(HTTP_STOP_S)
        await self.node.stop()

    @property
    def http_url(self) -> str:
        return f"http://{shown_address(*self.http.address)}"

    def listening(self) -> list[Listening]:
        """Say where this node is spoken to; nowhere while it only stands by."""
        if not self.http.has_port:
            return []
        smtp = [
            Listening("smtps" if endpoint.implicit_tls else "smtp", shown_address(host, port))
            for endpoint, host, port in self.node.smtp.addresses
        ]
        return [Listening("http", self.http_url), *smtp]


def shown_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def services(node: Node, uncut: Uncut, operation: Operation) -> Services:
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
        guesses=node.guesses,
        metrics=node.metrics,
        verifier=node.verifier,
        wake=node.run_now,
        accounts_in_trouble=lambda: troubles(node),
        why_waiting=node.dispatcher.why_waiting,
        is_active=lambda: node.door.is_open,
        readiness=Readiness(node.database, node.door.check_open),
        gauges=QueueGauges(node.database, node.stores.events, node.metrics),
        uncut=uncut,
        depot=node.large_files.depot,
        tickets=node.large_files.tickets,
        operation=operation,
    )


def operation_of(node: Node, listening: Callable[[], Sequence[Listening]]) -> Operation:
    return Operation(
        settings=shown_settings(node.config),
        database_file=node.config.database.sqlite_path,
        listening=listening,
        admin_token_digest=token_watch(node.config),
        rekey=node.rekey,
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
