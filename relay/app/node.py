"""A node: every part, built from the settings, started and stopped in order. The only place that
knows all.
"""

import asyncio
import time
from functools import partial
from importlib.metadata import version

from relay import maillog
from relay.app.files import open_files
from relay.app.mailboxes import build_poller, remembered_s
from relay.app.offload import open_large_files
from relay.app.place import Place, take_place
from relay.app.settings import (
    call_settings,
    disk_of,
    dispatch_settings,
    door_settings,
    fault_policy,
    guess_rules,
    key_text,
    patience,
    pool_settings,
    postmaster,
    report_settings,
    retry_policy,
    smtp_settings,
)
from relay.app.stores import open_database, open_stores
from relay.app.versions import check_versions, installed
from relay.budget import Budget
from relay.config import Config, read_key_again
from relay.crypto import Keyring
from relay.dispatch.deliver import Deliverer
from relay.dispatch.keeper import Errand, Keeper, Times
from relay.dispatch.loop import Dispatcher
from relay.dispatch.pool import Pool
from relay.dispatch.results import Results
from relay.dispatch.return_path import ReturnPaths
from relay.dispatch.settler import Settler
from relay.dispatch.verify import Verifier
from relay.dispatch.ways import Ways
from relay.errors import RelayError
from relay.formats import verp
from relay.ingress import disk
from relay.ingress.accept import Door
from relay.ingress.auth import Authenticator, AuthSettings
from relay.ingress.guesses import Guesses
from relay.ingress.smtp import SmtpListener
from relay.metrics import Metrics
from relay.reports.post import Caller
from relay.reports.reporter import Reporter
from relay.store import command_log, login_failures, suppressions
from relay.store.database import Database
from relay.store.delays import Delays
from relay.store.late import LOOK_EVERY_S, tell_of_late
from relay.store.login_failures import LoginFailures
from relay.store.mailboxes import forget as forget_mails
from relay.store.orders import OrderStore
from relay.store.pec_waits import Waits
from relay.store.queue import once
from relay.store.queue.settle import Notice
from relay.store.receipts import forget as forget_receipts
from relay.store.rekey import reseal
from relay.store.retention import DAY_S
from relay.store.spool import Spool
from relay.store.sweeper import Sweeper

SWEEP_EVERY_S = 600.0
LOG_EVERY_S = 1.0
PEC_EVERY_S = 5.0


class Node:
    """One running process of an instance. The faces (SMTP, REST) are started by its owner, on
    `door` and `stores`.
    """

    def __init__(self, config: Config, database: Database, keyring: Keyring, place: Place) -> None:
        self.config = config
        self.database = database
        self._keyring = keyring
        self.node_id = place.node_id
        self.socket_path = place.socket
        self.metrics = Metrics(genro=config.compat == "genro")
        self.stores = open_stores(database, keyring)
        self._disk = disk_of(config, database)
        self.spool = Spool(
            database,
            node_id=place.node_id,
            lease_s=config.dispatch.lease_s,
            on_commit=self.metrics.commit,
            postmaster=postmaster(config),
            on_notice=self._on_notice,
            faults=fault_policy(config),
            on_full=self._disk.filled,
        )
        self.door = self._build_door()
        self.orders = OrderStore(self.spool)
        self._place = place
        self._pool = Pool(pool_settings(config))
        self.verifier = Verifier(pool_settings(config))
        self._budget = Budget(config.dispatch.large_bytes)
        self.large_files = open_large_files(config, database, self.stores, keyring)
        self._files = open_files(
            config,
            self.stores,
            self.spool,
            self.large_files.offload,
            self._budget,
            self.metrics,
        )
        self._build_dispatch()
        self._reporter = self._build_reporter()
        self._poller = build_poller(config, self.spool, self.stores, self.metrics, keyring)
        self.guesses = self._build_guesses()
        self.smtp = self._build_smtp()
        database.on_signal(self._on_signal)

    def _build_smtp(self) -> SmtpListener:
        settings = AuthSettings(cache_s=self.config.smtp.auth_cache_s)
        authenticator = Authenticator(self.stores.directory, self.guesses, settings)
        return SmtpListener(self.door, authenticator, self.metrics, smtp_settings(self.config))

    def _build_door(self) -> Door:
        return Door(
            self.spool,
            self.stores.directory,
            self.stores.attachments,
            self.metrics,
            self._disk,
            door_settings(self.config),
        )

    def _build_guesses(self) -> Guesses:
        # An embedded database has one process, which knows it all.
        shared = None if self.database.single_writer else LoginFailures(self.database)
        return Guesses(guess_rules(self.config), self.database.now, shared)

    def _build_reporter(self) -> Reporter:
        return Reporter(
            self.spool,
            self.stores.outbox,
            self.stores.directory,
            Caller(call_settings(self.config)),
            self.metrics,
            report_settings(self.config),
        )

    def _build_dispatch(self) -> None:
        policy = retry_policy(self.config)
        ways = Ways(self.stores.directory, time.monotonic)
        settler = Settler(self.spool, self._disk.has_room_for_results)
        results = Results(self.spool, settler, ways, policy, self.metrics)
        returns = ReturnPaths(
            self.database,
            self.stores.directory,
            self.stores.instance,
            self._keyring.derived(verp.PURPOSE)[0],
        )
        deliverer = Deliverer(
            self.spool,
            self._pool,
            returns,
            self._budget,
            self.config.upstream.max_recipients,
            settler.is_clear,
        )
        self.dispatcher = Dispatcher(
            self.spool,
            ways,
            self._files.preparer,
            deliverer,
            settler,
            results,
            self.metrics,
            dispatch_settings(self.config),
        )
        times = Times(
            self.config.dispatch.poll_s, self.config.dispatch.lease_s, self.config.retry.lifetime_s
        )
        errands = self._errands()
        self._keeper = Keeper(self.spool, self.dispatcher, ways, self._pool, errands, times)

    def _errands(self) -> list[Errand]:
        """Return what is done again and again beside the sending."""
        sweeper = Sweeper(
            self.database,
            self.stores.tenants,
            self.stores.retention,
            self.config.retention.days * DAY_S,
            chores=(
                (once.forget, self.config.retention.idempotency_hours * 3600),
                (command_log.forget, self.config.retention.command_log_days * DAY_S),
                (forget_receipts, self.config.retention.receipts_days * DAY_S),
                (suppressions.forget, 0.0),
                (login_failures.forget, login_failures.FORGET_S),
                (forget_mails, remembered_s(self.config)),
            ),
        )
        waits = Waits(self.spool, self.metrics, self.config.pec.acceptance_timeout_s)
        errands = [
            Errand(SWEEP_EVERY_S, sweeper.sweep),
            Errand(LOG_EVERY_S, self.stores.command_log.flush),
            Errand(min(PEC_EVERY_S, waits.timeout_s), waits.look),
            Errand(disk.LOOK_EVERY_S, self._disk.tend),
            Errand(self.config.large_files.remove_every_s, self.large_files.remove_ended),
            Errand(LOOK_EVERY_S, partial(tell_of_late, self.spool, self.config.retry.lifetime_s)),
        ]
        if self.config.dsn.delay_warning_s:
            by, patient = postmaster(self.config), patience(self.config)
            delays = Delays(self.spool, self.stores.tenants, by, patient)
            errands.append(Errand(patient.look_every_s, delays.warn))
        return errands

    @classmethod
    async def open(cls, config: Config) -> "Node":
        """Open what the settings name. Raises ConfigError, UnsafeStore, StoreLocked,
        StoreUnavailable.
        """
        check_versions(installed())
        keyring = Keyring.from_text(key_text(config))
        place = take_place(config.instance_dir)
        try:
            database = await open_database(config, keyring)
        except BaseException:
            place.leave()
            raise
        try:
            return cls(config, database, keyring, place)
        except BaseException:
            await database.close()
            place.leave()
            raise

    async def stand_by(self) -> None:
        """Store and show, and send nothing: what is given now leaves once a node is started."""
        await self.spool.start()

    async def stand_down(self) -> None:
        """End what `stand_by` began, and close."""
        await self._write_log()
        await self.spool.close()
        await self.close()

    async def start(self) -> None:
        """Take up what was left, and send."""
        await self.stand_by()
        await self._disk.tend()
        self.spool.serve(self.dispatcher)
        self.dispatcher.start()
        await self._keeper.start()
        self._reporter.start()
        self._poller.start()
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
        await self._poller.stop()
        # What is not reported in that time is kept, and reported by whoever runs next.
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.stop(self.config.dispatch.drain_s))
            group.create_task(self._reporter.stop(self.config.dispatch.drain_s))
        await self._pool.close()
        await self._files.close()
        await self.stand_down()
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

    async def rekey(self, *, seals: bool) -> int:
        """Take up the keys that are in the instance's key file now; where `seals`, seal all secrets
        with the first of them. Return how many were. Raises ConfigError, SecretDamaged.
        """
        config = await asyncio.to_thread(read_key_again, self.config)
        self._keyring.take_up(Keyring.from_text(key_text(config)))
        return await reseal(self.database, self._keyring) if seals else 0

    def run_now(self, tenant_id: str | None) -> None:
        """Look at once at everything that waits for a reason of this node's own, and call the
        tenant, or all of them.
        """
        self.dispatcher.notice(self.dispatcher.lanes_due)
        self._reporter.run_now(tenant_id)

    def _on_notice(self, notice: Notice) -> None:
        self.metrics.sender_notified(notice.tenant_id)
        maillog.sender_notified(
            notice.pk,
            tenant=notice.tenant_id,
            about=notice.about,
            recipients=notice.recipients,
        )

    def _on_signal(self, topic: str, payload: str) -> None:
        if topic in ("tenant", "account"):
            self.dispatcher.forget(payload.partition("/")[0])
        elif topic == "lane":
            self.dispatcher.notice([payload])
