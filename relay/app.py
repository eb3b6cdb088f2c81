"""A node: every part, built from the settings, started and stopped in order. The only place that
knows all.
"""

import asyncio
import fcntl
import os
import secrets
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from relay import maillog
from relay.config import Config
from relay.crypto import Keyring
from relay.dispatch.deliver import Deliverer
from relay.dispatch.keeper import Errand, Keeper, Times
from relay.dispatch.loop import Dispatcher, DispatchSettings
from relay.dispatch.pool import Pool, PoolSettings
from relay.dispatch.results import Results
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.settler import Settler
from relay.dispatch.ways import Ways
from relay.errors import ConfigError, RelayError, StoreLocked
from relay.ingress.accept import Door, DoorSettings
from relay.ingress.auth import Authenticator, AuthSettings
from relay.ingress.disk import Disk
from relay.ingress.smtp import Endpoint, SmtpListener, SmtpSettings
from relay.metrics import Metrics
from relay.reports.guard import Reach
from relay.reports.post import Caller, CallSettings
from relay.reports.reporter import Reporter, ReportSettings
from relay.store import command_log, instance
from relay.store.accounts import AccountStore
from relay.store.batches import BatchStore
from relay.store.command_log import CommandLog
from relay.store.credentials import CredentialStore
from relay.store.database import Database
from relay.store.directory import Directory
from relay.store.events import EventStore
from relay.store.instance import InstanceStore
from relay.store.messages import MessageStore
from relay.store.migrate import migrate
from relay.store.orders import OrderStore
from relay.store.outbox import Outbox
from relay.store.postgres import open_postgres
from relay.store.queue import once
from relay.store.retention import DAY_S, RetentionStore
from relay.store.spool import Spool
from relay.store.sqlite import open_sqlite
from relay.store.sweeper import Sweeper
from relay.store.tenants import TenantStore

NODES_PER_INSTANCE = 64
SWEEP_EVERY_S = 600.0
LOG_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in its instance: an id that survives a restart, held by a lock while the node
    lives.
    """

    node_id: str
    lock: int

    def leave(self) -> None:
        os.close(self.lock)


def take_place(folder: Path) -> Place:
    """Take the first free place of this instance folder."""
    base = folder / "node_id"
    if not base.exists():
        base.write_text(secrets.token_hex(8))
    for number in range(NODES_PER_INSTANCE):
        lock = os.open(folder / f"node.{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return Place(f"{base.read_text().strip()}.{number}", lock)
    raise StoreLocked(f"{folder}: {NODES_PER_INSTANCE} nodes run in this instance already")


async def open_database(config: Config) -> Database:
    """Open, check and migrate the database of the settings."""
    path = config.database.sqlite_path
    if path is not None:
        database: Database = await open_sqlite(path)
    else:
        database = await open_postgres(
            config.database.url.get_secret_value(),
            pool_size=config.database.pool_size,
            timeout_s=config.database.command_timeout_s,
        )
    try:
        await migrate(database)
        return database
    except BaseException:
        await database.close()
        raise


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one opened database."""

    tenants: TenantStore
    accounts: AccountStore
    credentials: CredentialStore
    messages: MessageStore
    batches: BatchStore
    retention: RetentionStore
    command_log: CommandLog
    instance: InstanceStore
    events: EventStore
    outbox: Outbox
    directory: Directory


def open_stores(database: Database, keyring: Keyring) -> Stores:
    tenants = TenantStore(database, keyring)
    accounts = AccountStore(database, keyring)
    credentials = CredentialStore(database)
    directory = Directory(database, tenants, accounts, credentials, time.monotonic)
    return Stores(
        tenants,
        accounts,
        credentials,
        MessageStore(database),
        BatchStore(database),
        RetentionStore(database),
        CommandLog(database),
        InstanceStore(database, keyring),
        EventStore(database),
        Outbox(database),
        directory,
    )


class Node:
    """One running process of an instance. The faces (SMTP, REST) are started by its owner, on
    `door` and `stores`.
    """

    def __init__(self, config: Config, database: Database, keyring: Keyring, place: Place) -> None:
        self.config = config
        self.database = database
        self.node_id = place.node_id
        self.metrics = Metrics(genro=config.compat == "genro")
        self.stores = open_stores(database, keyring)
        self.spool = Spool(
            database,
            node_id=place.node_id,
            lease_s=config.dispatch.lease_s,
            on_commit=self.metrics.commit,
        )
        self.door = Door(
            self.spool, self.stores.directory, self.metrics, disk_of(config), door_settings(config)
        )
        self.orders = OrderStore(self.spool)
        self._place = place
        self._pool = Pool(pool_settings(config))
        self._build_dispatch()
        self._reporter = Reporter(
            self.spool,
            self.stores.outbox,
            self.stores.directory,
            Caller(call_settings(config)),
            self.metrics,
            report_settings(config),
        )
        authenticator = Authenticator(
            self.stores.directory, AuthSettings(cache_s=config.smtp.auth_cache_s)
        )
        self.smtp = SmtpListener(self.door, authenticator, self.metrics, smtp_settings(config))
        database.on_signal(self._on_signal)

    def _build_dispatch(self) -> None:
        policy = retry_policy(self.config)
        ways = Ways(self.stores.directory, time.monotonic)
        settler = Settler(self.spool)
        results = Results(self.spool, settler, ways, policy, self.metrics)
        deliverer = Deliverer(self.spool, self._pool, self.config.upstream.max_recipients)
        self.dispatcher = Dispatcher(
            self.spool,
            ways,
            deliverer,
            settler,
            results,
            self.metrics,
            dispatch_settings(self.config),
        )
        times = Times(
            self.config.dispatch.poll_s, self.config.dispatch.lease_s, self.config.retry.lifetime_s
        )
        sweeper = Sweeper(
            self.database,
            self.stores.tenants,
            self.stores.retention,
            self.config.retention.days * DAY_S,
            chores=(
                (once.forget, self.config.retention.idempotency_hours * 3600),
                (command_log.forget, self.config.retention.command_log_days * DAY_S),
            ),
        )
        errands = (
            Errand(SWEEP_EVERY_S, sweeper.sweep),
            Errand(LOG_EVERY_S, self.stores.command_log.flush),
        )
        self._keeper = Keeper(self.spool, self.dispatcher, ways, self._pool, errands, times)

    @classmethod
    async def open(cls, config: Config) -> "Node":
        """Open what the settings name. Raises ConfigError, UnsafeStore, StoreLocked,
        StoreUnavailable.
        """
        keyring = Keyring.from_text(key_text(config))
        place = take_place(config.instance_dir)
        try:
            database = await open_database(config)
        except BaseException:
            place.leave()
            raise
        try:
            await instance.check_key(database, keyring)
            return cls(config, database, keyring, place)
        except BaseException:
            await database.close()
            place.leave()
            raise

    async def start(self) -> None:
        """Take up what was left, and send."""
        await self.spool.start()
        self.spool.serve(self.dispatcher)
        self.dispatcher.start()
        await self._keeper.start()
        self._reporter.start()
        await self.smtp.start()
        maillog.started(
            version=version("pillarbox"),
            instance=self.config.name,
            node=self.node_id,
            database="sqlite" if self.database.single_writer else "postgresql",
        )

    async def stop(self) -> None:
        """Finish what is under way inside the budget, give the rest back, close. The faces are
        closed before.
        """
        await self.smtp.stop(self.config.dispatch.drain_s)
        await self._keeper.stop()
        # What is not reported in that time is kept, and reported by whoever runs next.
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.stop(self.config.dispatch.drain_s))
            group.create_task(self._reporter.stop(self.config.dispatch.drain_s))
        await self._pool.close()
        await self._write_log()
        await self.spool.close()
        await self.close()
        maillog.stopped()

    async def _write_log(self) -> None:
        try:
            await self.stores.command_log.flush()
        except RelayError as error:
            maillog.store_trouble(error)

    async def close(self) -> None:
        """Close what `open` opened; for a node that was not started."""
        await self.database.close()
        self._place.leave()

    def run_now(self, tenant_id: str | None) -> None:
        """Look at once at everything that waits for a reason of this node's own, and call the
        tenant, or all of them.
        """
        self.dispatcher.notice(self.dispatcher.lanes_due)
        self._reporter.run_now(tenant_id)

    def _on_signal(self, topic: str, payload: str) -> None:
        if topic in ("tenant", "account"):
            self.dispatcher.forget(payload.partition("/")[0])
        elif topic == "lane":
            self.dispatcher.notice([payload])


def key_text(config: Config) -> str:
    if config.encryption_key is None:
        raise ConfigError("encryption_key: a key is needed to seal the passwords of accounts")
    return config.encryption_key.get_secret_value()


def retry_policy(config: Config) -> RetryPolicy:
    return RetryPolicy(tuple(config.retry.waits_s), config.retry.jitter, config.retry.lifetime_s)


def door_settings(config: Config) -> DoorSettings:
    return DoorSettings(
        host_name=config.smtp.hostname,
        max_message_bytes=config.limits.max_message_bytes,
        max_header_bytes=config.smtp.max_header_bytes,
        max_header_fields=config.smtp.max_header_fields,
        max_hops=config.smtp.max_hops,
        genro=config.compat == "genro",
        max_waiting=config.limits.max_waiting_per_tenant,
    )


def disk_of(config: Config) -> Disk:
    path = config.database.sqlite_path
    return Disk(path.parent if path else None, config.limits.min_free_disk_bytes, time.monotonic)


def smtp_settings(config: Config) -> SmtpSettings:
    smtp = config.smtp
    plain = [Endpoint(a.host, a.port, smtp.needs_tls(a)) for a in smtp.listen]
    wrapped = [Endpoint(a.host, a.port, False, implicit_tls=True) for a in smtp.tls_listen]
    return SmtpSettings(
        host_name=smtp.hostname,
        endpoints=(*plain, *wrapped),
        tls_cert=smtp.tls_cert,
        tls_key=smtp.tls_key,
        max_message_bytes=config.limits.max_message_bytes,
        max_connections=smtp.max_connections,
        max_connections_per_ip=smtp.max_connections_per_ip,
        max_recipients=smtp.max_recipients,
        idle_timeout_s=smtp.idle_timeout_s,
        session_timeout_s=smtp.session_timeout_s,
        min_rate_bytes_s=smtp.min_rate_bytes_s,
        min_rate_grace_s=smtp.min_rate_grace_s,
        max_commands=smtp.max_commands,
        max_errors=smtp.max_errors,
        max_auth_failures=smtp.max_auth_failures,
        share_ports=config.workers > 1,
    )


def pool_settings(config: Config) -> PoolSettings:
    upstream = config.upstream
    return PoolSettings(
        helo_name=upstream.helo_name,
        connect_timeout_s=upstream.connect_timeout_s,
        command_timeout_s=upstream.command_timeout_s,
        data_timeout_s=upstream.data_timeout_s,
        min_rate_bytes_s=upstream.min_rate_bytes_s,
        idle_s=upstream.idle_s,
        max_age_s=upstream.max_age_s,
        probe_after_s=upstream.probe_after_s,
    )


def call_settings(config: Config) -> CallSettings:
    listens = (config.http.listen, *config.smtp.listen, *config.smtp.tls_listen)
    return CallSettings(
        reach=Reach(
            networks=config.callback.allowed_networks,
            loopback=all(listen.is_loopback for listen in listens),
        ),
        timeout_s=config.callback.timeout_s,
        max_answer_bytes=config.callback.max_answer_bytes,
        max_connections=config.callback.concurrency,
        user_agent=f"Pillarbox/{version('pillarbox')}",
    )


def report_settings(config: Config) -> ReportSettings:
    callback = config.callback
    return ReportSettings(
        interval_s=callback.interval_s,
        poll_s=callback.poll_s,
        max_events=callback.max_events,
        max_bytes=callback.max_bytes,
        max_calls=callback.max_calls,
        concurrency=callback.concurrency,
        retry_waits_s=tuple(callback.retry_waits_s),
        give_up_s=callback.give_up_s,
    )


def dispatch_settings(config: Config) -> DispatchSettings:
    dispatch = config.dispatch
    first_rest_s, longest_rest_s = dispatch.account_rest_s
    return DispatchSettings(
        max_deliveries=dispatch.max_deliveries,
        memory_bytes=dispatch.memory_bytes,
        memory_messages=max(dispatch.handover_messages, dispatch.max_deliveries),
        hands_over=dispatch.handover_messages > 0 and not dispatch.tick_s,
        tick_s=dispatch.tick_s,
        first_rest_s=first_rest_s,
        longest_rest_s=longest_rest_s,
    )
