"""What each part of a node is told of the settings: one function a part."""

import time
from importlib.metadata import version

from relay.attachments.cache import CacheSettings
from relay.attachments.sources.http import Pace
from relay.config import Config
from relay.config.values import IpNetwork
from relay.dispatch.pool import PoolSettings
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.settings import DispatchSettings
from relay.errors import ConfigError
from relay.ingress.accept import DoorSettings
from relay.ingress.backlog import Bounds
from relay.ingress.disk import Disk, Spare
from relay.ingress.smtp import Endpoint, SmtpSettings
from relay.net.reach import Reach
from relay.reports.post import CallSettings
from relay.reports.reporter import ReportSettings
from relay.store.database import Database
from relay.store.delays import Patience
from relay.store.login_failures import Rules
from relay.store.queue.aside import FaultPolicy
from relay.store.queue.notify import Postmaster
from relay.store.reserve import Reserve
from relay.store.sqlite import SqliteDatabase


def key_text(config: Config) -> str:
    if config.encryption_key is None:
        raise ConfigError("encryption_key: a key is needed to seal the passwords of accounts")
    return config.encryption_key.get_secret_value()


def retry_policy(config: Config) -> RetryPolicy:
    retry = config.retry
    return RetryPolicy(tuple(retry.waits_s), retry.jitter, retry.lifetime_s, retry.max_faults)


def fault_policy(config: Config) -> FaultPolicy:
    return FaultPolicy(tuple(config.retry.waits_s), config.retry.max_faults)


def door_settings(config: Config) -> DoorSettings:
    return DoorSettings(
        host_name=config.smtp.hostname,
        max_message_bytes=config.limits.max_message_bytes,
        max_header_bytes=config.smtp.max_header_bytes,
        max_header_fields=config.smtp.max_header_fields,
        max_hops=config.smtp.max_hops,
        genro=config.compat == "genro",
        waiting=Bounds(
            config.limits.max_waiting_per_tenant, config.limits.max_waiting_bytes_per_tenant
        ),
        lifetime_s=config.retry.lifetime_s,
    )


def guess_rules(config: Config) -> Rules:
    first_wait_s, longest_wait_s = config.limits.auth_wait_s
    return Rules(first_wait_s, longest_wait_s, config.limits.max_auth_names_per_ip)


def disk_of(config: Config, database: Database) -> Disk:
    path, watermark = config.database.sqlite_path, config.limits.min_free_disk_bytes
    if path is None or not isinstance(database, SqliteDatabase):
        return Disk(None, watermark, time.monotonic)
    reserve = Reserve(path.with_name(f"{path.name}.reserve"), config.database.reserve_bytes)
    journal = path.with_name(f"{path.name}-wal")

    async def spare() -> Spare:
        return Spare(journal.stat().st_size, await database.spare_bytes())

    return Disk(path.parent, watermark, time.monotonic, reserve, spare)


def smtp_settings(config: Config) -> SmtpSettings:
    smtp = config.smtp
    old = smtp.old_tls_listen
    plain = [Endpoint(a.host, a.port, smtp.needs_tls(a), old_tls=a in old) for a in smtp.listen]
    wrapped = [
        Endpoint(a.host, a.port, False, implicit_tls=True, old_tls=a in old)
        for a in smtp.tls_listen
    ]
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
        takes_suppressed=smtp.suppressed == "accept",
        max_messages=smtp.max_messages_per_connection,
        max_receiving_bytes=smtp.max_receiving_bytes,
        more_certs=smtp.more_certs,
        proxy_networks=smtp.proxy_networks,
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


def reach(config: Config, *networks: IpNetwork) -> Reach:
    """Allow private networks to be called, and loopback where nobody else reaches this node."""
    listens = (config.http.listen, *config.smtp.listen, *config.smtp.tls_listen)
    return Reach(networks, loopback=all(listen.is_loopback for listen in listens))


def user_agent() -> str:
    return f"Pillarbox/{version('pillarbox')}"


def call_settings(config: Config) -> CallSettings:
    return CallSettings(
        reach=reach(config, *config.callback.allowed_networks),
        timeout_s=config.callback.timeout_s,
        max_answer_bytes=config.callback.max_answer_bytes,
        max_connections=config.callback.concurrency,
        user_agent=user_agent(),
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


def postmaster(config: Config) -> Postmaster:
    host_name = config.smtp.hostname
    author = config.dsn.author or f"MAILER-DAEMON@{host_name}"
    return Postmaster(host_name, author, config.dsn.max_original_bytes)


def patience(config: Config) -> Patience:
    return Patience(config.dsn.delay_warning_s, config.retry.lifetime_s)


def cache_settings(config: Config) -> CacheSettings:
    cache = config.cache
    return CacheSettings(
        memory_bytes=cache.memory_bytes,
        memory_age_s=cache.memory_age_s,
        memory_file_bytes=cache.memory_file_bytes,
        disk_bytes=cache.disk_bytes,
        disk_age_s=cache.disk_age_s,
    )


def pace(config: Config) -> Pace:
    attachments = config.attachments
    return Pace(attachments.timeout_s, attachments.min_rate_bytes_s, attachments.min_rate_grace_s)


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
