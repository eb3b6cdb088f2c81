"""The log: one function for each event in the life of a mail and of a node.

A line has its time (UTC), level and event, then key=value or JSON, the mail's id first. Secrets,
bodies and subjects are no parameters of anything here. What comes from outside (addresses, replies,
user names) is escaped and cut, so that it can neither forge a line nor flood the log. A log that
cannot be written must not undo an acceptance or repeat a delivery, so a failure to write is
dropped. Nothing is written before `configure`.
"""

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from relay.model import Ingress, Verdict

_LONGEST_VALUE = 1000
_LONGEST_TRACEBACK = 20000
_SILENT = logging.CRITICAL  # above every level that is used here
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_URL_LOGIN = re.compile(r"://\S*@")

_Values = MutableMapping[str, object]
_to_json = json.JSONEncoder(separators=(",", ":"), default=str).encode
_to_logfmt = structlog.processors.LogfmtRenderer(bool_as_flag=False)


class _Stream:
    """Writes whole lines. What one turn of the event loop says is written at once when it ends, and
    before any warning.
    """

    __slots__ = ("_lines", "_stream")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def later(self, line: str) -> bool:
        """Write it with the others of this turn; False where it was written, outside of a loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write(line + "\n")
            return False
        if not self._lines:
            loop.call_soon(self._flush)
        self._lines.append(line + "\n")
        return True

    def now(self, line: str) -> None:
        if self.later(line):
            self._flush()

    debug = info = later
    warning = error = now

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._write("".join(lines))

    def _write(self, text: str) -> None:
        # A full disk, a closed pipe, a closed stream (ValueError): see the module's promise.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _logger(
    stream: TextIO, level: int, render: Callable[[object, str, _Values], str]
) -> FilteringBoundLogger:
    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Stream(stream),
        processors=[_cleaned, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=True,
    ).bind()
    return logger


def _cleaned(_logger: object, level: str, values: _Values) -> _Values:
    """Put time, level and event first, drop what is None, escape and cut the rest."""
    line: _Values = {"ts": _now(), "level": level, "event": values.pop("event")}
    for key, value in values.items():
        if isinstance(value, str):
            is_plain = len(value) <= _LONGEST_VALUE and value.isprintable()
            line[key] = value if is_plain else _safe(value)
        elif value is not None:
            line[key] = value
    return line


def _now() -> str:
    second, rest = divmod(time.time(), 1)
    return f"{_second(int(second))}.{int(rest * 1000):03}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _safe(text: str) -> str:
    safe = _printable(text[: _LONGEST_VALUE + 1])
    return safe if len(safe) <= _LONGEST_VALUE else safe[:_LONGEST_VALUE] + "…"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def _without_login(text: str) -> str:
    """Take logins out of URLs: drivers name the address that they could not reach."""
    return _URL_LOGIN.sub("://…@", text)


def _as_json(_logger: object, _level: str, line: _Values) -> str:
    return _to_json(line)


def _as_text(logger: object, level: str, line: _Values) -> str:
    """Render key=value; a traceback follows indented, so that no line of it looks like an event."""
    lines = line.pop("traceback", ())
    text = _to_logfmt(logger, level, line)
    return "\n    ".join([text, *lines]) if isinstance(lines, list) else text


_log = _logger(sys.stderr, _SILENT, _as_text)


def configure(
    format: Literal["text", "json"],
    level: Literal["debug", "info", "warning", "error"],
    *,
    stream: TextIO | None = None,
) -> None:
    """Set where and how the process logs; once, at start. `stream` is standard error unless given.

    Warnings of libraries come out the same way, as the event `library`.
    """
    global _log
    render = _as_json if format == "json" else _as_text
    _log = _logger(stream or sys.stderr, _LEVELS[level], render)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.addHandler(_libraries)


class _LibraryHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.log(
            logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING,
            "library",
            logger=record.name,
            message=_without_login(record.getMessage()),
            traceback=_traceback(record.exc_info[1]) if record.exc_info else None,
        )


_libraries = _LibraryHandler()


def _traceback(error: BaseException | None) -> list[str] | None:
    if error is None:
        return None
    text = _without_login("".join(traceback.format_exception(error)))
    return [_printable(line) for line in text[-_LONGEST_TRACEBACK:].splitlines()]


# A mail comes in.


def accepted(
    pk: str,
    *,
    tenant: str,
    ingress: Ingress,
    size_bytes: int,
    recipients: int,
    repairs: str | None = None,
) -> None:
    """Say that a mail is committed and synced: its 250 may be given. `repairs` names what was put
    right in how its client handed it over.
    """
    _log.info(
        "accepted",
        id=pk,
        tenant=tenant,
        ingress=ingress,
        size_bytes=size_bytes,
        recipients=recipients,
        repairs=repairs,
    )


def refused(*, tenant: str | None, ingress: Ingress, peer: str, reason: str, code: int) -> None:
    """Say that a mail was not taken; `reason` is what the client was told."""
    _log.info("refused", tenant=tenant, ingress=ingress, peer=peer, code=code, reason=reason)


def auth_failed(peer: str, user: str) -> None:
    _log.warning("auth_failed", peer=peer, user=user)


def open_network(tenant: str, user: str, networks: str) -> None:
    """Warn of a login that needs no password from addresses that anybody may have."""
    _log.warning("open_network", tenant=tenant, user=user, networks=networks)


def disputed_network(peer: str, tenants: str) -> None:
    """Say that an address belongs to the networks of several tenants, and so to none."""
    _log.warning("disputed_network", peer=peer, tenants=tenants)


# It goes out.


def attempt(
    pk: str,
    *,
    tenant: str,
    account: str,
    n: int,
    verdict: Verdict,
    code: int,
    reply: str,
    duration_s: float,
) -> None:
    """Tell of one try for recipient number `n`; `code` is 0 where the upstream said nothing."""
    _log.info(
        "attempt",
        id=pk,
        tenant=tenant,
        account=account,
        n=n,
        verdict=verdict,
        code=code,
        reply=reply,
        duration_s=round(duration_s, 4),
    )


def requeued(pk: str, *, tenant: str, recipients: int, wait_s: float) -> None:
    """Say that recipients wait for another attempt."""
    _log.info("requeued", id=pk, tenant=tenant, recipients=recipients, wait_s=round(wait_s, 1))


def fenced(pk: str, *, tenant: str) -> None:
    """Say that a delivery was dropped before anything was sent: the node had lost its lease."""
    _log.warning("fenced", id=pk, tenant=tenant)


def expired(pk: str, *, tenant: str, recipients: int) -> None:
    """Say that recipients were given up: the mail is too old or had all its attempts."""
    _log.warning("expired", id=pk, tenant=tenant, recipients=recipients)


def sender_notified(pk: str, *, tenant: str, about: str, recipients: int) -> None:
    """Say that a notification was queued: the sender of mail `about` is told of so many."""
    _log.info("sender_notified", id=pk, tenant=tenant, about=about, recipients=recipients)


def double_bounce(pk: str, *, tenant: str, reply: str) -> None:
    """Say that a notification could not be delivered: the sender is never told."""
    _log.warning("double_bounce", id=pk, tenant=tenant, reply=reply)


def bounced(pk: str, *, tenant: str, n: int, type: str, code: str, reason: str) -> None:
    """Say that mail for recipient number `n` came back, or was complained of."""
    _log.info("bounced", id=pk, tenant=tenant, n=n, type=type, code=code, reason=reason)


def account_rests(tenant: str, account: str, *, wait_s: float, reason: str) -> None:
    """Say that an account's server cannot be used; its mail waits or goes another way."""
    _log.warning(
        "account_rests", tenant=tenant, account=account, wait_s=round(wait_s, 1), reason=reason
    )


def account_recovered(tenant: str, account: str) -> None:
    _log.info("account_recovered", tenant=tenant, account=account)


# It is certified mail.


def pec_receipt(pk: str | None, *, tenant: str, account: str, kind: str, found: str) -> None:
    """Say that a receipt came; `found` says whether it was recorded, and `pk` of which mail."""
    log = _log.warning if pk is None else _log.info
    log("pec_receipt", id=pk, tenant=tenant, account=account, kind=kind, found=found)


def pec_timeout(pk: str, *, tenant: str, account: str) -> None:
    """Say that the provider has not accepted a mail that it took."""
    _log.warning("pec_timeout", id=pk, tenant=tenant, account=account)


# Its files are fetched.


def attachment_got(
    pk: str, *, tenant: str, n: int, mode: str, how: str, size_bytes: int, duration_s: float
) -> None:
    """Say that file number `n` is there; `how` is fetched, or the tier of the cache."""
    _log.info(
        "attachment_got",
        id=pk,
        tenant=tenant,
        n=n,
        mode=mode,
        how=how,
        size_bytes=size_bytes,
        duration_s=round(duration_s, 4),
    )


def attachment_failed(pk: str, *, tenant: str, n: int, mode: str, reason: str, detail: str) -> None:
    """Say that a file could not be got; `detail` is what the client is not told."""
    _log.warning(
        "attachment_failed",
        id=pk,
        tenant=tenant,
        n=n,
        mode=mode,
        reason=reason,
        detail=_without_login(detail) or None,
    )


def attachment_differs(tenant: str, *, filename: str) -> None:
    """Say that a file has another MD5 than its client declared: it is sent, and not cached."""
    _log.warning("attachment_differs", tenant=tenant, filename=filename)


def warned(pk: str, *, tenant: str, reason: str) -> None:
    """Say that a mail is sent though something about it is not as its tenant wants it."""
    _log.warning("warned", id=pk, tenant=tenant, reason=reason)


def storage_trouble(storage: str, error: str) -> None:
    """Say that a storage for large files does not work; `storage` is its URL without secrets."""
    _log.warning("storage_trouble", storage=storage, error=_without_login(error))


# It is reported.


def reported(
    tenant: str, *, events: int, refused: int, not_found: int, is_queued: bool, duration_s: float
) -> None:
    """Say that a client took a call; `refused` of its events it wants again."""
    log = _log.info if events or is_queued else _log.debug
    log(
        "reported",
        tenant=tenant,
        events=events,
        refused=refused,
        not_found=not_found,
        is_queued=is_queued,
        duration_s=round(duration_s, 4),
    )


def report_failed(tenant: str, *, events: int, reason: str, failures: int, wait_s: float) -> None:
    """Say that a client did not take a call; its events are offered again."""
    _log.warning(
        "report_failed",
        tenant=tenant,
        events=events,
        reason=reason,
        failures=failures,
        wait_s=round(wait_s, 1),
    )


def report_fenced(tenant: str) -> None:
    """Say that a call has lost its say: another node calls this tenant, or nobody does any more."""
    _log.warning("report_fenced", tenant=tenant)


def reports_parked(tenant: str, *, events: int) -> None:
    """Say that events were given up: the client did not take them for too long."""
    _log.error("reports_parked", tenant=tenant, events=events)


# A mailbox is read; the instance's own has neither tenant nor account.


def mailbox_failed(
    tenant: str, account: str, *, host: str, reason: str, failures: int, wait_s: float
) -> None:
    """Say that a mailbox cannot be read; sending goes on."""
    _log.warning(
        "mailbox_failed",
        tenant=tenant or None,
        account=account or None,
        host=host,
        reason=reason,
        failures=failures,
        wait_s=round(wait_s, 1),
    )


def mailbox_recovered(tenant: str, account: str) -> None:
    _log.info("mailbox_recovered", tenant=tenant or None, account=account or None)


def mailbox_fenced(tenant: str, account: str) -> None:
    """Say that another node reads this mailbox now."""
    _log.warning("mailbox_fenced", tenant=tenant or None, account=account or None)


def mail_put_aside(tenant: str, account: str, *, uid: int, reason: str) -> None:
    """Say that a mail in a mailbox cannot be read; it is looked at no more."""
    _log.warning(
        "mail_put_aside", tenant=tenant or None, account=account or None, uid=uid, reason=reason
    )


def mark_declined(tenant: str, account: str, *, reason: str) -> None:
    """Say that a mailbox does not let us flag, move or delete what was handled."""
    _log.warning("mark_declined", tenant=tenant or None, account=account or None, reason=reason)


# A node lives.


def started(*, version: str, instance: str, node: str, database: str) -> None:
    """Say that the node takes mail; `database` is the engine, not its address."""
    _log.info("started", version=version, instance=instance, node=node, database=database)


def listening(service: str, address: str) -> None:
    _log.info("listening", service=service, address=address)


def local_socket_failed(reason: str) -> None:
    """Say that commands on this machine cannot speak to this node; mail is taken all the same."""
    _log.warning("local_socket_failed", reason=reason)


def recovered(count: int) -> None:
    """Say that recipients which a dead node had leased were taken up."""
    _log.warning("recovered", recipients=count)


def lease_lost(epoch: int) -> None:
    """Say that this node was taken for dead: what it had leased belongs to others now."""
    _log.error("lease_lost", epoch=epoch)


def stopping(reason: str) -> None:
    _log.info("stopping", reason=reason)


def stopped() -> None:
    _log.info("stopped")


def store_trouble(error: BaseException) -> None:
    """Say that the database does not work; mail is answered 451 or 452 meanwhile."""
    _log.error("store_trouble", error=_without_login(str(error)), kind=type(error).__name__)


def unexpected(where: str, error: BaseException) -> None:
    """Say that something happened that should not have, with its traceback."""
    _log.error(
        "unexpected",
        where=where,
        error=_without_login(str(error)),
        kind=type(error).__name__,
        traceback=_traceback(error),
    )
