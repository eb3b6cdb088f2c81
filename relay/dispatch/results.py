"""What came of a delivery: decided, written, counted, logged."""

import random
from collections.abc import Sequence

from relay import maillog
from relay.dispatch import retry
from relay.dispatch.retry import RetryPolicy
from relay.dispatch.settler import Settler
from relay.dispatch.ways import Ways
from relay.errors import RelayError
from relay.metrics import Metrics
from relay.model import Account, AccountKind, Delivery, Ingress, Outcome, State, Verdict
from relay.store.queue.settle import Release, Resolution, Settlement
from relay.store.spool import Spool

# RFC 3463 §3.5: delivery time expired.
EXPIRED = "4.4.7"


class Results:
    def __init__(
        self, spool: Spool, settler: Settler, ways: Ways, policy: RetryPolicy, metrics: Metrics
    ) -> None:
        self._spool = spool
        self._settler = settler
        self._ways = ways
        self._policy = policy
        self._metrics = metrics

    def is_expired(self, delivery: Delivery, now: float) -> bool:
        return now >= retry.expires_at(self._policy, delivery)

    def attempted(
        self, account: Account, delivery: Delivery, outcomes: Sequence[Outcome], started_at: float
    ) -> None:
        """Take what an upstream said of each recipient."""
        now = self._spool.now()
        # One spread for all: recipients that failed together are offered together again.
        spread = 2 * random.random() - 1  # noqa: S311 - spreads load, guards nothing
        resolutions = retry.resolve(self._policy, delivery, outcomes, now, spread)
        way = self._ways.known(delivery.lane)
        self._settler.settle(
            Settlement(
                delivery,
                account.id,
                started_at,
                now,
                tuple(outcomes),
                resolutions,
                way.wants_reports and is_clients(delivery),
                way.keeps_content or account.kind is AccountKind.CAPTURE,
                remote=account.host,
                is_pec=account.is_pec_account,
            )
        )
        self._metrics.attempt(delivery.tenant_id, account.id, now - started_at)
        for outcome, resolution in zip(outcomes, resolutions, strict=True):
            self._tell(account, delivery, outcome, resolution, (started_at, now))

    def failed(self, delivery: Delivery, account_id: str, reply: str, status: str) -> None:
        """Give a mail up for a reason of our own; `status` is its RFC 3463 code."""
        now = self._spool.now()
        resolutions = retry.without_attempt(delivery, reply, status, now)
        self._end(delivery, account_id, (), resolutions, now)
        self._metrics.failed(delivery.tenant_id, account_id, len(resolutions))
        self._tell_put_aside(delivery, resolutions)
        self._tell_double_bounce(delivery, reply)

    def expired(self, delivery: Delivery) -> None:
        reply = "expired before it could be delivered"
        self.failed(delivery, delivery.account_id or "none", reply, EXPIRED)
        maillog.expired(delivery.pk, tenant=delivery.tenant_id, recipients=len(delivery.pending))

    def in_doubt(self, delivery: Delivery) -> None:
        """Take what a dead node had begun: nobody knows how it ended."""
        now = self._spool.now()
        outcomes = retry.lost(delivery, retry.DIED)
        resolutions = retry.after_crash(self._policy, delivery, now)
        self._end(delivery, delivery.account_id or "unknown", outcomes, resolutions, now)
        self._tell_put_aside(delivery, resolutions)

    def is_put_aside(self, faults: int) -> bool:
        """Say whether the relay died with a mail too often."""
        return faults >= self._policy.most_faults

    def put_aside(self, delivery: Delivery) -> None:
        """Give up what the relay died with too often."""
        reply = f"put aside: {retry.DIED}, too often"
        self.failed(delivery, delivery.account_id or "none", reply, retry.FAULT)

    def faulted(
        self, account: Account, delivery: Delivery, error: BaseException, *, in_doubt: bool = False
    ) -> None:
        """Take that our own code failed at a mail; `in_doubt`: an upstream may have it."""
        maillog.fault(delivery.pk, tenant=delivery.tenant_id, where="deliver", error=error)
        now = self._spool.now()
        reason = str(error) if isinstance(error, RelayError) else type(error).__name__
        reply = f"a fault inside the relay: {reason}"
        verdict = Verdict.UNKNOWN if in_doubt else Verdict.DEFERRED
        outcomes = tuple(Outcome(p.n, verdict, 0, None, reply, "relay") for p in delivery.pending)
        spread = 2 * random.random() - 1  # noqa: S311 - as above
        resolutions = retry.after_fault(self._policy, delivery, outcomes, now, spread)
        self._end(delivery, account.id, outcomes, resolutions, now)
        for outcome, resolution in zip(outcomes, resolutions, strict=True):
            self._tell(account, delivery, outcome, resolution, (now, now))
        self._tell_put_aside(delivery, resolutions)

    def _tell_put_aside(self, delivery: Delivery, resolutions: Sequence[Resolution]) -> None:
        ended = [r for r in resolutions if r.status == retry.FAULT]
        if ended:
            maillog.put_aside(
                delivery.pk,
                tenant=delivery.tenant_id,
                recipients=len(ended),
                reason=ended[0].reply,
            )

    def given_back(self, deliveries: Sequence[Delivery]) -> None:
        """Make leased mail due again without an attempt."""
        now = self._spool.now()
        for delivery in deliveries:
            self._settler.settle(Release(delivery, now))

    def put_off(self, delivery: Delivery, wait_s: float) -> None:
        """Give a mail back that is not to be claimed again at once."""
        now = self._spool.now()
        self._settler.settle(Release(delivery, now + wait_s, State.DEFERRED))

    def _end(
        self,
        delivery: Delivery,
        account_id: str,
        outcomes: tuple[Outcome, ...],
        resolutions: tuple[Resolution, ...],
        now: float,
    ) -> None:
        way = self._ways.known(delivery.lane)
        # What is put aside can be tried again, once what was wrong is mended.
        is_aside = any(r.status == retry.FAULT for r in resolutions)
        wishes = way.wants_reports and is_clients(delivery), way.keeps_content or is_aside
        self._settler.settle(
            Settlement(delivery, account_id, now, now, outcomes, resolutions, *wishes)
        )

    def _tell(
        self,
        account: Account,
        delivery: Delivery,
        outcome: Outcome,
        resolution: Resolution,
        times: tuple[float, float],
    ) -> None:
        started_at, ended_at = times
        maillog.attempt(
            delivery.pk,
            tenant=delivery.tenant_id,
            account=account.id,
            n=outcome.n,
            verdict=outcome.verdict,
            code=outcome.code,
            reply=outcome.reply,
            duration_s=ended_at - started_at,
        )
        if resolution.state is State.SENT:
            latency_s = ended_at - delivery.accepted_at
            self._metrics.sent(delivery.tenant_id, account.id, latency_s=latency_s)
        elif resolution.state is State.FAILED:
            self._metrics.failed(delivery.tenant_id, account.id)
            self._tell_double_bounce(delivery, resolution.reply)
        else:
            self._metrics.deferred(delivery.tenant_id, account.id)

    def _tell_double_bounce(self, delivery: Delivery, reply: str) -> None:
        """Say that a notification came back: its sender is nobody, so nobody else hears of it."""
        if delivery.ingress is Ingress.DSN:
            self._metrics.double_bounce(delivery.tenant_id)
            maillog.double_bounce(delivery.pk, tenant=delivery.tenant_id, reply=reply)


def is_clients(delivery: Delivery) -> bool:
    """Say whether the tenant gave us this mail; of our own notifications it knows nothing."""
    return delivery.ingress is not Ingress.DSN
