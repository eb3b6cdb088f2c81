"""What a node counts, in the names of the contract, for Prometheus.

Counting is cheap enough for every mail: counters and histograms are numbers in a dictionary, of
which the library makes its samples when it is asked. What only the database knows (the queue) is
set by whoever asked it. Labels are tenants, accounts and small fixed sets, never addresses. The
registry belongs to the object, so several nodes can live in one process.

Accounts are unique per tenant only; so every metric by account has the tenant as a label beside it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.model import Ingress, Priority, State

_COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_ACCEPT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_ATTEMPT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 86400, 432000)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_WAITING = (State.QUEUED, State.DEFERRED, State.SUSPENDED, State.SENDING)
_GENRO_LABELS = ("tenant_id", "tenant_name", "account_id", "account_name")


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as the documentation has it; `kind` is Prometheus' word."""

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str


Labels = tuple[str, ...]
C = TypeVar("C", bound=Collector)


class _Counts(Collector):
    """A counter by labels."""

    def __init__(self, name: str, doc: str, labels: Labels) -> None:
        self._name = name
        self._doc = doc
        self._labels = labels
        self._values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *labels: str, count: float = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._doc, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


@dataclass(slots=True)
class _Seen:
    """What a histogram saw of one set of labels; `counts` is by bucket, the last for all above."""

    counts: list[int]
    total: float = 0.0


class _Times(Collector):
    """A histogram by labels, mostly of seconds."""

    def __init__(self, name: str, doc: str, buckets: Sequence[float], labels: Labels) -> None:
        self._name = name
        self._doc = doc
        self._buckets = buckets
        self._labels = labels
        self._bounds = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._seen: dict[Labels, _Seen] = {} if labels else {(): self._nothing()}

    def _nothing(self) -> _Seen:
        return _Seen([0] * (len(self._buckets) + 1))

    def observe(self, *labels: str, value: float) -> None:
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = self._nothing()
        seen.counts[bisect_left(self._buckets, value)] += 1
        seen.total += value

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._doc, labels=self._labels)
        for labels, seen in self._seen.items():
            below = zip(self._bounds, accumulate(seen.counts), strict=True)
            family.add_metric(labels, list(below), seen.total)
        yield family


class _Genro:
    """The names that dashboards for genro-mail-proxy ask for; an account's name is its id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, doc: str) -> _Counts:
            counts = _Counts(name, doc, _GENRO_LABELS)
            registry.register(counts)
            return counts

        self.sent = counter("gmp_sent_total", "Recipients whose mail was sent")
        self.errors = counter("gmp_errors_total", "Recipients whose mail failed")
        self.deferred = counter("gmp_deferred_total", "Recipients whose mail was deferred")
        self.rate_limited = counter("gmp_rate_limited_total", "Times an account was at its limit")
        self.pending = Gauge("gmp_pending_messages", "Recipients that wait", registry=registry)
        self._names: dict[str, str] = {}

    def name_tenant(self, tenant: str, name: str) -> None:
        self._names[tenant] = name

    def add(self, counts: _Counts, tenant: str, account: str, count: float = 1) -> None:
        counts.add(tenant, self._names.get(tenant, tenant), account, account, count=count)


class Metrics:
    """The metrics of one node; `genro` adds the `gmp_*` names."""

    def __init__(self, *, genro: bool = False) -> None:
        self._registry = CollectorRegistry()
        self._labels: dict[str, tuple[str, ...]] = {}
        ProcessCollector(registry=self._registry)
        self._genro = _Genro(self._registry) if genro else None
        self._declare_counters()
        self._declare_counters_of_what_comes_back()
        self._declare_times()
        self._declare_gauges()

    def _declare_counters(self) -> None:
        by_account = ("tenant", "account")
        self._accepted = self._counts(
            "messages_accepted_total", "Messages committed", ("tenant", "ingress")
        )
        self._sent = self._counts("recipients_sent_total", "Recipients sent", by_account)
        self._failed = self._counts("recipients_failed_total", "Recipients failed", by_account)
        self._deferred = self._counts(
            "recipients_deferred_total", "Attempts that ended in another wait", by_account
        )
        self._rate_limited = self._counts(
            "rate_limited_total", "Times an account was at its limit", by_account
        )
        self._callbacks = self._counts(
            "callback_sent_total", "Calls that a client took", ("tenant",)
        )
        self._callbacks_failed = self._counts(
            "callback_failed_total", "Calls that a client did not take", ("tenant",)
        )
        self._cache_hits = self._counts("cache_hits_total", "Files found in the cache", ("tier",))
        self._cache_misses = self._counts(
            "cache_misses_total", "Files not found in the cache", ("tier",)
        )
        self._repairs = self._counts(
            "legacy_repairs_total",
            "Mails of which something was put right, by login",
            ("tenant", "credential", "repair"),
        )
        self._auth_failures = self._counts("auth_failures_total", "Failed logins", ())

    def _declare_counters_of_what_comes_back(self) -> None:
        by_account = ("tenant", "account")
        self._bounced = self._counts(
            "recipients_bounced_total", "Recipients whose mail came back", by_account
        )
        self._bounces = self._counts("bounces_total", "Mails that came back, by what", ("type",))
        self._pec_receipts = self._counts(
            "pec_receipts_total", "Receipts of certified mail, by kind", ("tenant", "kind")
        )
        self._pec_timeouts = self._counts(
            "pec_timeouts_total", "Recipients whose mail was not accepted in time", ("tenant",)
        )
        self._notified = self._counts(
            "dsns_total", "Notifications to senders that were queued", ("tenant",)
        )
        self._double_bounces = self._counts(
            "double_bounces_total", "Notifications that could not be delivered", ("tenant",)
        )
        self._mails_met = self._counts(
            "mailbox_mails_total", "Mails met in the mailboxes that are read", ("outcome",)
        )
        self._mailbox_failures = self._counts(
            "mailbox_failures_total", "Times a mailbox could not be read", by_account
        )

    def _declare_times(self) -> None:
        self._attempt_s = self._times(
            "attempt_seconds", "Time of one attempt", _ATTEMPT_S, ("tenant", "account")
        )
        self._accept_s = self._times(
            "accept_seconds", "From the last byte of a mail to its reply", _ACCEPT_S, ("ingress",)
        )
        self._latency_s = self._times(
            "delivery_latency_seconds", "From acceptance, or when it was due, to sent", _LATENCY_S
        )
        self._fetch_s = self._times(
            "attachment_fetch_seconds", "Time to fetch one file from its source", _ATTEMPT_S
        )
        self._commit_s = self._times("commit_seconds", "Time of one commit", _COMMIT_S)
        self._commit_batch = self._times(
            "commit_batch_size", "Requests served by one commit", _BATCH
        )

    def _declare_gauges(self) -> None:
        self._queue = self._gauge("queue_recipients", "Recipients that wait", ("state", "priority"))
        self._oldest = self._gauge("queue_oldest_seconds", "How long the oldest due mail is due")
        self._backlog = self._gauge(
            "callback_backlog", "Events that the client is still to be told of", ("tenant",)
        )
        self._tasks = self._gauge("event_loop_tasks", "Tasks that live in this process")
        self._connections = self._gauge(
            "pool_connections", "Upstream connections", ("tenant", "account", "state")
        )

    def _counts(self, name: str, doc: str, labels: Labels) -> _Counts:
        return self._added(_Counts(f"pillarbox_{name}", doc, labels), f"pillarbox_{name}", labels)

    def _times(
        self, name: str, doc: str, buckets: tuple[float, ...], labels: Labels = ()
    ) -> _Times:
        times = _Times(f"pillarbox_{name}", doc, buckets, labels)
        return self._added(times, f"pillarbox_{name}", labels)

    def _added(self, collector: C, name: str, labels: Labels) -> C:
        self._labels[name] = labels
        self._registry.register(collector)
        return collector

    def _gauge(self, name: str, doc: str, labels: tuple[str, ...] = ()) -> Gauge:
        self._labels[f"pillarbox_{name}"] = labels
        return Gauge(f"pillarbox_{name}", doc, labels, registry=self._registry)

    def accepted(self, tenant: str, ingress: Ingress, duration_s: float) -> None:
        self._accepted.add(tenant, ingress)
        self._accept_s.observe(ingress, value=duration_s)

    def sent(self, tenant: str, account: str, *, latency_s: float) -> None:
        """Count a recipient; `latency_s` counts from when its mail was accepted or due."""
        self._sent.add(tenant, account)
        self._latency_s.observe(value=latency_s)
        if self._genro:
            self._genro.add(self._genro.sent, tenant, account)

    def failed(self, tenant: str, account: str, count: int = 1) -> None:
        self._failed.add(tenant, account, count=count)
        if self._genro:
            self._genro.add(self._genro.errors, tenant, account, count)

    def deferred(self, tenant: str, account: str, count: int = 1) -> None:
        self._deferred.add(tenant, account, count=count)
        if self._genro:
            self._genro.add(self._genro.deferred, tenant, account, count)

    def bounced(self, tenant: str, account: str) -> None:
        self._bounced.add(tenant, account)

    def bounce(self, type: str) -> None:
        """Count a mail that came to a mailbox of bounces: hard, soft, block, complaint, none,
        duplicate, unmatched, forged.
        """
        self._bounces.add(type)

    def rate_limited(self, tenant: str, account: str) -> None:
        self._rate_limited.add(tenant, account)
        if self._genro:
            self._genro.add(self._genro.rate_limited, tenant, account)

    def attempt(self, tenant: str, account: str, duration_s: float) -> None:
        self._attempt_s.observe(tenant, account, value=duration_s)

    def commit(self, duration_s: float, batch_size: int) -> None:
        self._commit_s.observe(value=duration_s)
        self._commit_batch.observe(value=batch_size)

    def attachment_fetched(self, duration_s: float) -> None:
        self._fetch_s.observe(value=duration_s)

    def cache_asked(self, tier: str, is_hit: bool) -> None:
        (self._cache_hits if is_hit else self._cache_misses).add(tier)

    def repaired(self, tenant: str, credential: str, repairs: Sequence[str]) -> None:
        for repair in repairs:
            self._repairs.add(tenant, credential, repair)

    def auth_failed(self) -> None:
        self._auth_failures.add()

    def sender_notified(self, tenant: str) -> None:
        self._notified.add(tenant)

    def double_bounce(self, tenant: str) -> None:
        self._double_bounces.add(tenant)

    def mail_met(self, outcome: str) -> None:
        """Count a mail in a mailbox: handled, known, unmatched, unrelated or unreadable."""
        self._mails_met.add(outcome)

    def mailbox_failed(self, tenant: str, account: str) -> None:
        """Count a look that failed; the instance's own mailbox has neither tenant nor account."""
        self._mailbox_failures.add(tenant, account)

    def called(self, tenant: str, *, is_taken: bool) -> None:
        (self._callbacks if is_taken else self._callbacks_failed).add(tenant)

    def pec_receipt(self, tenant: str, kind: str) -> None:
        """Count a receipt by its kind, or as `repeated` or `unknown`."""
        self._pec_receipts.add(tenant, kind)

    def pec_timeout(self, tenant: str) -> None:
        self._pec_timeouts.add(tenant)

    def set_backlog(self, counts: Mapping[str, int]) -> None:
        """Set what waits to be reported, as the database counts it; a tenant that is absent has
        none.
        """
        self._backlog.clear()
        for tenant, events in counts.items():
            self._backlog.labels(tenant).set(events)

    def set_queue(self, counts: Mapping[tuple[State, int], int], *, oldest_s: float) -> None:
        """Set the depth by state and priority, as the database counts it; what is absent is 0."""
        for state in _WAITING:
            for priority in Priority:
                depth = counts.get((state, priority), 0)
                self._queue.labels(state, priority.name.lower()).set(depth)
        self._oldest.set(oldest_s)
        if self._genro:
            self._genro.pending.set(sum(counts.get((s, p), 0) for s in _WAITING for p in Priority))

    def set_tasks(self, count: int) -> None:
        """Set how many tasks live: what is not ended shows here first."""
        self._tasks.set(count)

    def set_connections(self, tenant: str, account: str, *, idle: int, busy: int) -> None:
        self._connections.labels(tenant, account, "idle").set(idle)
        self._connections.labels(tenant, account, "busy").set(busy)

    def name_tenant(self, tenant: str, name: str) -> None:
        """Tell a tenant's name, which the `gmp_*` metrics carry beside its id."""
        if self._genro:
            self._genro.name_tenant(tenant, name)

    def describe(self) -> list[Described]:
        """Say what there is to read, also where nothing was counted yet."""
        found = []
        for family in self._registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = self._labels.get(name, ())
            found.append(Described(name, family.type, labels, family.documentation))
        return found

    def render(self) -> tuple[bytes, str]:
        """Return the body of GET /metrics and its content type."""
        return (
            prometheus_client.generate_latest(self._registry),
            prometheus_client.CONTENT_TYPE_LATEST,
        )
