"""Metrics: the names of the contract, as Prometheus reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.metrics import Metrics
from relay.model import Ingress, Priority, State

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(metrics: Metrics) -> Samples:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_what_is_counted_is_read_back_under_the_names_of_the_contract() -> None:
    metrics = Metrics()
    metrics.accepted("acme", Ingress.SMTP, 0.01)
    metrics.accepted("acme", Ingress.SMTP, 0.01)
    metrics.sent("acme", "main", latency_s=0.2)
    metrics.failed("acme", "main", 3)
    metrics.deferred("acme", "main")
    metrics.rate_limited("acme", "main")
    metrics.attempt("acme", "main", 0.1)
    metrics.commit(0.002, 7)
    metrics.auth_failed()
    samples = read(metrics)
    by_account = {"tenant": "acme", "account": "main"}
    assert value(samples, "pillarbox_messages_accepted_total", tenant="acme", ingress="smtp") == 2
    assert value(samples, "pillarbox_recipients_sent_total", **by_account) == 1
    assert value(samples, "pillarbox_recipients_failed_total", **by_account) == 3
    assert value(samples, "pillarbox_recipients_deferred_total", **by_account) == 1
    assert value(samples, "pillarbox_rate_limited_total", **by_account) == 1
    assert value(samples, "pillarbox_auth_failures_total") == 1
    assert value(samples, "pillarbox_attempt_seconds_count", **by_account) == 1
    assert value(samples, "pillarbox_accept_seconds_count", ingress="smtp") == 2
    assert value(samples, "pillarbox_delivery_latency_seconds_sum") == pytest.approx(0.2)
    assert value(samples, "pillarbox_commit_seconds_count") == 1
    assert value(samples, "pillarbox_commit_batch_size_sum") == 7


def test_calls_of_clients_are_counted_and_the_backlog_is_as_it_was_last_told() -> None:
    metrics = Metrics()
    metrics.called("acme", is_taken=True)
    metrics.called("acme", is_taken=False)
    metrics.called("acme", is_taken=False)
    metrics.set_backlog({"acme": 3, "gone": 1})
    metrics.set_backlog({"acme": 2})
    samples = read(metrics)
    assert value(samples, "pillarbox_callback_sent_total", tenant="acme") == 1
    assert value(samples, "pillarbox_callback_failed_total", tenant="acme") == 2
    assert value(samples, "pillarbox_callback_backlog", tenant="acme") == 2
    assert ("pillarbox_callback_backlog", frozenset({("tenant", "gone")})) not in samples


def test_the_queue_is_as_it_was_last_told() -> None:
    metrics = Metrics()
    metrics.set_queue({(State.QUEUED, Priority.HIGH): 5}, oldest_s=12.5)
    metrics.set_queue({(State.DEFERRED, 3): 2}, oldest_s=1.5)
    samples = read(metrics)
    queue = "pillarbox_queue_recipients"
    assert value(samples, queue, state="queued", priority="high") == 0
    assert value(samples, queue, state="deferred", priority="low") == 2
    assert value(samples, "pillarbox_queue_oldest_seconds") == 1.5


def test_connections_are_told_by_state() -> None:
    metrics = Metrics()
    metrics.set_connections("acme", "main", idle=2, busy=1)
    samples = read(metrics)
    name, by_account = "pillarbox_pool_connections", {"tenant": "acme", "account": "main"}
    assert value(samples, name, **by_account, state="idle") == 2
    assert value(samples, name, **by_account, state="busy") == 1


def test_what_came_back_is_counted_by_what_it_was_and_by_recipient() -> None:
    metrics = Metrics()
    metrics.bounce("hard")
    metrics.bounced("acme", "main")
    samples = read(metrics)
    assert value(samples, "pillarbox_bounces_total", type="hard") == 1
    by_account = {"tenant": "acme", "account": "main"}
    assert value(samples, "pillarbox_recipients_bounced_total", **by_account) == 1


def test_two_nodes_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.auth_failed()
    assert value(read(two), "pillarbox_auth_failures_total") == 0


def test_labels_from_users_are_escaped() -> None:
    metrics = Metrics()
    metrics.sent('a"\n', "x\\", latency_s=1)
    name = "pillarbox_recipients_sent_total"
    assert value(read(metrics), name, tenant='a"\n', account="x\\") == 1


def test_the_old_names_are_there_only_when_switched_on() -> None:
    plain, genro = Metrics(), Metrics(genro=True)
    assert b"gmp_" not in plain.render()[0]
    genro.name_tenant("acme", "Acme Inc.")
    genro.sent("acme", "main", latency_s=1)
    genro.failed("acme", "main", 2)
    genro.deferred("acme", "main", 3)
    genro.rate_limited("acme", "main")
    genro.set_queue({(State.QUEUED, 2): 4, (State.SUSPENDED, 0): 1}, oldest_s=0)
    samples = read(genro)
    labels = {
        "tenant_id": "acme",
        "tenant_name": "Acme Inc.",
        "account_id": "main",
        "account_name": "main",
    }
    assert value(samples, "gmp_sent_total", **labels) == 1
    assert value(samples, "gmp_errors_total", **labels) == 2
    assert value(samples, "gmp_deferred_total", **labels) == 3
    assert value(samples, "gmp_rate_limited_total", **labels) == 1
    assert value(samples, "gmp_pending_messages") == 5
    assert value(samples, "pillarbox_recipients_sent_total", tenant="acme", account="main") == 1


def test_what_was_never_counted_is_described_with_its_labels() -> None:
    found = {metric.name: metric for metric in Metrics().describe()}
    accepted = found["pillarbox_messages_accepted_total"]
    assert (accepted.kind, accepted.labels) == ("counter", ("tenant", "ingress"))
    assert found["pillarbox_pool_connections"].labels == ("tenant", "account", "state")
    assert found["pillarbox_commit_seconds"].kind == "histogram"
    assert all(metric.doc for metric in found.values())
