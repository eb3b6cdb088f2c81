"""A node: every part, built from the settings, started and stopped in order. The only place that
knows all.
"""

import asyncio
import time
from functools import partial
from importlib.metadata import version

from relay import maillog
from relay.app.place import Place, take_place
from relay.app.settings import (
    call_settings,
    disk_of,
    dispatch_settings,
    door_settings,
    key_text,
    pool_settings,
    report_settings,
    retry_policy,
    smtp_settings,
)
from relay.app.stores import open_database, open_stores
from relay.config import Config
from relay.crypto import Keyring
from relay.dispatch.deliver import Deliverer
from relay.dispatch.keeper import Errand, Keeper, Times
from relay.dispatch.loop import Dispatcher
from relay.dispatch.pool import Pool
from relay.dispatch.results import Results
from relay.dispatch.settler import Settler
from relay.dispatch.verify import Verifier
from relay.dispatch.ways import Ways
from relay.errors import RelayError
from relay.ingress.accept import Door
from relay.ingress.auth import Authenticator, AuthSettings
from relay.ingress.smtp import SmtpListener
from relay.metrics import Metrics
from relay.reports.post import Caller
from relay.reports.reporter import Reporter
from relay.store import command_log, instance
from relay.store.database import Database
from relay.store.late import LOOK_EVERY_S, tell_of_late
from relay.store.orders import OrderStore
from relay.store.queue import once
from relay.store.retention import DAY_S
from relay.store.spool import Spool
from relay.store.sweeper import Sweeper

SWEEP_EVERY_S = 600.0
LOG_EVERY_S = 1.0


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
        self.verifier = Verifier(pool_settings(config))
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
            Errand(LOOK_EVERY_S, partial(tell_of_late, self.spool)),
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
