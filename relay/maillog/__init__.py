"""The log: one function for each event in the life of a mail and of a node.

A line has its time (UTC), level and event, then key=value or JSON, the mail's id first. Secrets,
bodies and subjects are no parameters of anything here. What comes from outside (addresses, replies,
user names) is escaped and cut, so that it can neither forge a line nor flood the log. A log that
cannot be written must not undo an acceptance or repeat a delivery, so a failure to write is
dropped. Nothing is written before `configure`.
"""

from relay.maillog import lines
from relay.maillog.lines import configure as configure
from relay.maillog.lines import places_of, traceback_of, without_login
from relay.model import Ingress, Verdict

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
    lines.log.info(
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
    lines.log.info("refused", tenant=tenant, ingress=ingress, peer=peer, code=code, reason=reason)


def auth_failed(peer: str, user: str) -> None:
    lines.log.warning("auth_failed", peer=peer, user=user)


def token_refused(peer: str, route: str) -> None:
    """Say that a call brought a token that is nobody's, or has expired."""
    lines.log.warning("token_refused", peer=peer, route=route)


def commands_forgotten(count: int) -> None:
    """Say that somebody had that much of the log of commands removed."""
    lines.log.warning("commands_forgotten", commands=count)


def open_network(tenant: str, user: str, networks: str) -> None:
    """Warn of a login that needs no password from addresses that anybody may have."""
    lines.log.warning("open_network", tenant=tenant, user=user, networks=networks)


def disputed_network(peer: str, tenants: str) -> None:
    """Say that an address belongs to the networks of several tenants, and so to none."""
    lines.log.warning("disputed_network", peer=peer, tenants=tenants)


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
    lines.log.info(
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
    lines.log.info("requeued", id=pk, tenant=tenant, recipients=recipients, wait_s=round(wait_s, 1))


def fenced(pk: str, *, tenant: str) -> None:
    """Say that a delivery was dropped before anything was sent: the node had lost its lease."""
    lines.log.warning("fenced", id=pk, tenant=tenant)


def expired(pk: str, *, tenant: str, recipients: int) -> None:
    """Say that recipients were given up: the mail is too old or had all its attempts."""
    lines.log.warning("expired", id=pk, tenant=tenant, recipients=recipients)


def sender_notified(pk: str, *, tenant: str, about: str, recipients: int) -> None:
    """Say that a notification was queued: the sender of mail `about` is told of so many."""
    lines.log.info("sender_notified", id=pk, tenant=tenant, about=about, recipients=recipients)


def sender_suppressed(about: str, *, tenant: str) -> None:
    """Say that nobody is notified: the tenant does not write to the sender of mail `about`."""
    lines.log.info("sender_suppressed", tenant=tenant, about=about)


def double_bounce(pk: str, *, tenant: str, reply: str) -> None:
    """Say that a notification could not be delivered: the sender is never told."""
    lines.log.warning("double_bounce", id=pk, tenant=tenant, reply=reply)


def bounced(pk: str, *, tenant: str, n: int, type: str, code: str, reason: str) -> None:
    """Say that mail for recipient number `n` came back, or was complained of."""
    lines.log.info("bounced", id=pk, tenant=tenant, n=n, type=type, code=code, reason=reason)


def fault(pk: str, *, tenant: str, where: str, error: BaseException) -> None:
    """Say that our own code failed at one mail, and where; not with what words, which may be the
    mail's.
    """
    lines.log.error(
        "fault",
        id=pk,
        tenant=tenant,
        where=where,
        kind=type(error).__name__,
        traceback=places_of(error),
    )


def put_aside(pk: str, *, tenant: str, recipients: int, reason: str) -> None:
    """Say that recipients were given up for faults of our own; their content is kept."""
    lines.log.error("put_aside", id=pk, tenant=tenant, recipients=recipients, reason=reason)


def account_rests(tenant: str, account: str, *, wait_s: float, reason: str) -> None:
    """Say that an account's server cannot be used; its mail waits or goes another way."""
    lines.log.warning(
        "account_rests", tenant=tenant, account=account, wait_s=round(wait_s, 1), reason=reason
    )


def account_recovered(tenant: str, account: str) -> None:
    lines.log.info("account_recovered", tenant=tenant, account=account)


# It is certified mail.


def pec_receipt(pk: str | None, *, tenant: str, account: str, kind: str, found: str) -> None:
    """Say that a receipt came; `found` says whether it was recorded, and `pk` of which mail."""
    log = lines.log.warning if pk is None else lines.log.info
    log("pec_receipt", id=pk, tenant=tenant, account=account, kind=kind, found=found)


def pec_timeout(pk: str, *, tenant: str, account: str) -> None:
    """Say that the provider has not accepted a mail that it took."""
    lines.log.warning("pec_timeout", id=pk, tenant=tenant, account=account)


# Its files are fetched.


def attachment_got(
    pk: str, *, tenant: str, n: int, mode: str, how: str, size_bytes: int, duration_s: float
) -> None:
    """Say that file number `n` is there; `how` is fetched, or the tier of the cache."""
    lines.log.info(
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
    lines.log.warning(
        "attachment_failed",
        id=pk,
        tenant=tenant,
        n=n,
        mode=mode,
        reason=reason,
        detail=without_login(detail) or None,
    )


def attachment_differs(tenant: str, *, filename: str) -> None:
    """Say that a file has another MD5 than its client declared: it is sent, and not cached."""
    lines.log.warning("attachment_differs", tenant=tenant, filename=filename)


def warned(pk: str, *, tenant: str, reason: str) -> None:
    """Say that a mail is sent though something about it is not as its tenant wants it."""
    lines.log.warning("warned", id=pk, tenant=tenant, reason=reason)


def storage_trouble(storage: str, error: str) -> None:
    """Say that a storage for large files does not work; `storage` is its URL without secrets."""
    lines.log.warning("storage_trouble", storage=storage, error=without_login(error))


# It is reported.


def reported(
    tenant: str, *, events: int, refused: int, not_found: int, is_queued: bool, duration_s: float
) -> None:
    """Say that a client took a call; `refused` of its events it wants again."""
    log = lines.log.info if events or is_queued else lines.log.debug
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
    lines.log.warning(
        "report_failed",
        tenant=tenant,
        events=events,
        reason=reason,
        failures=failures,
        wait_s=round(wait_s, 1),
    )


def report_fenced(tenant: str) -> None:
    """Say that a call has lost its say: another node calls this tenant, or nobody does any more."""
    lines.log.warning("report_fenced", tenant=tenant)


def reports_parked(tenant: str, *, events: int) -> None:
    """Say that events were given up: the client did not take them for too long."""
    lines.log.error("reports_parked", tenant=tenant, events=events)


# A mailbox is read; the instance's own has neither tenant nor account.


def mailbox_failed(
    tenant: str, account: str, *, host: str, reason: str, failures: int, wait_s: float
) -> None:
    """Say that a mailbox cannot be read; sending goes on."""
    lines.log.warning(
        "mailbox_failed",
        tenant=tenant or None,
        account=account or None,
        host=host,
        reason=reason,
        failures=failures,
        wait_s=round(wait_s, 1),
    )


def mailbox_recovered(tenant: str, account: str) -> None:
    lines.log.info("mailbox_recovered", tenant=tenant or None, account=account or None)


def mailbox_fenced(tenant: str, account: str) -> None:
    """Say that another node reads this mailbox now."""
    lines.log.warning("mailbox_fenced", tenant=tenant or None, account=account or None)


def mail_put_aside(tenant: str, account: str, *, uid: int, reason: str) -> None:
    """Say that a mail in a mailbox cannot be read; it is looked at no more."""
    lines.log.warning(
        "mail_put_aside", tenant=tenant or None, account=account or None, uid=uid, reason=reason
    )


def mark_declined(tenant: str, account: str, *, reason: str) -> None:
    """Say that a mailbox does not let us flag, move or delete what was handled."""
    lines.log.warning(
        "mark_declined", tenant=tenant or None, account=account or None, reason=reason
    )


# A node lives.


def started(*, version: str, instance: str, node: str, database: str) -> None:
    """Say that the node takes mail; `database` is the engine, not its address."""
    lines.log.info("started", version=version, instance=instance, node=node, database=database)


def listening(service: str, address: str) -> None:
    lines.log.info("listening", service=service, address=address)


def local_socket_failed(reason: str) -> None:
    """Say that commands on this machine cannot speak to this node; mail is taken all the same."""
    lines.log.warning("local_socket_failed", reason=reason)


def recovered(count: int) -> None:
    """Say that recipients which a dead node had leased were taken up."""
    lines.log.warning("recovered", recipients=count)


def secret_damaged(where: str) -> None:
    """Say that a sealed value does not open: whoever needs it waits until it is set again."""
    lines.log.error("secret_damaged", where=where)


def lease_lost(epoch: int) -> None:
    """Say that this node was taken for dead: what it had leased belongs to others now."""
    lines.log.error("lease_lost", epoch=epoch)


def clock_set(*, by_s: float) -> None:
    """Say that the clock was set, forward or back: what waited waits as long as it was to."""
    lines.log.warning("clock_set", by_s=round(by_s, 3))


def stopping(reason: str) -> None:
    lines.log.info("stopping", reason=reason)


def stopped() -> None:
    lines.log.info("stopped")


def store_trouble(error: BaseException) -> None:
    """Say that the database does not work; mail is answered 451 or 452 meanwhile."""
    lines.log.error("store_trouble", error=without_login(str(error)), kind=type(error).__name__)


def failures_not_shared(error: BaseException) -> None:
    """Say that this node slows guessers by its own memory until the database answers again."""
    lines.log.warning(
        "failures_not_shared", error=without_login(str(error)), kind=type(error).__name__
    )


def unexpected(where: str, error: BaseException) -> None:
    """Say that something happened that should not have, with its traceback."""
    lines.log.error(
        "unexpected",
        where=where,
        error=without_login(str(error)),
        kind=type(error).__name__,
        traceback=traceback_of(error),
    )
