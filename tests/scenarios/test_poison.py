"""Mail that this relay itself fails at: its row, its content or its result is damaged in the
database. It is put aside after a bounded number of tries, with its reason; the mail beside it does
not wait for it.
"""

import time
from pathlib import Path

import pytest

from relay.model import AccountKind, DsnWish, Ingress, State
from relay.store.database import Database, Query, Script
from relay.store.messages import MessageView
from relay.store.queue.orders import Order
from tests.fakes.bounces import returned
from tests.fakes.imap import FakeImap
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.conftest import Relay, StartNode
from tests.scenarios.test_mailboxes import QUICK as MAILBOXES
from tests.scenarios.test_mailboxes import sent_mail, watch
from tests.waiting import until

QUICK = {"retry.waits_s": [0.1], "retry.max_faults": 3, "dispatch.handover_messages": 0}
SOON_S = 8


@pytest.fixture
async def relay(start_node: StartNode) -> Relay:
    relay = await start_node(**QUICK)
    await relay.tenant("acme", client_base_url="http://127.0.0.1:1")
    return relay


async def run(database: Database, sql: str, *values: str | int | bytes | None) -> None:
    def script() -> Script[None]:
        yield Query(sql, values)

    await database.write(script)


async def held_back(
    relay: Relay, upstream: FakeUpstream, *, ingress: Ingress = Ingress.REST
) -> str:
    """Accept a mail that nobody claims: its tenant is suspended."""
    await relay.account(upstream)
    await relay.node.stores.batches.suspend("acme", None)
    return (await relay.send(ingress=ingress)).pk


async def let_go(relay: Relay) -> None:
    await relay.node.stores.batches.activate("acme", None)
    relay.node.dispatcher.notice(["acme/=main"])


async def put_aside(relay: Relay, pk: str) -> MessageView:
    view = await relay.settled(pk, "failed")
    assert await relay.kinds(pk) == ["accepted", "deferred", "deferred", "failed"]
    return view


# What is damaged, and what the reason names.
DAMAGE: dict[str, tuple[str, str]] = {
    "a value that is none of those": (
        "UPDATE messages SET on_unknown = 'perhaps' WHERE pk = $1",
        "OnUnknown",
    ),
    "a way in that does not exist": (
        "UPDATE messages SET ingress = 'pigeon' WHERE pk = $1",
        "Ingress",
    ),
    "content that is cut": (
        "UPDATE contents SET body = substr(body, 1, 5) WHERE message_pk = $1",
        "5 of its",
    ),
    "an address that is not fit for SMTP": (
        "UPDATE recipients SET address = 'a b> c' WHERE message_pk = $1",
        "ValueError",
    ),
    "an address that lost a character": (
        "UPDATE recipients SET address = 'b\ufffdb@there.test' WHERE message_pk = $1",
        "address is damaged",
    ),
}
# PostgreSQL lets no such value into these columns.
SQLITE_DAMAGE: dict[str, tuple[str, str]] = {
    "a text that is no UTF-8": (
        "UPDATE recipients SET address = CAST(X'FF40782E74' AS TEXT) WHERE message_pk = $1",
        "address is damaged",
    ),
    "a number that is a word": (
        "UPDATE messages SET size_bytes = 'many' WHERE pk = $1",
        "size_bytes is damaged",
    ),
    "a time that is a word": (
        "UPDATE messages SET expires_at = 'later' WHERE pk = $1",
        "expires_at is damaged",
    ),
    "content that is no octets": (
        "UPDATE contents SET body = 'text' WHERE message_pk = $1",
        "body is damaged",
    ),
}


@pytest.mark.parametrize(
    ("database_url", "what"),
    [
        *(("sqlite", what) for what in DAMAGE | SQLITE_DAMAGE),
        *(("postgres", what) for what in DAMAGE),
    ],
    indirect=["database_url"],
)
async def test_damaged_mail_is_put_aside_with_its_reason_and_holds_up_no_other(
    relay: Relay, upstream: FakeUpstream, what: str
) -> None:
    bad = await held_back(relay, upstream)
    good = [(await relay.send(f"r{n}@there.test")).pk for n in range(5)]
    sql, reason = (DAMAGE | SQLITE_DAMAGE)[what]
    await run(relay.node.database, sql, bad)
    started = time.monotonic()
    await let_go(relay)
    await upstream.wait_for(5)
    assert time.monotonic() - started < SOON_S
    for pk in good:
        await relay.settled(pk, "sent")
    view = await put_aside(relay, bad)
    assert reason in (view.recipients[0].reply or "")
    assert len(upstream.received) == 5


async def test_mail_that_was_put_aside_is_sent_when_it_is_mended_and_tried_again(
    relay: Relay, upstream: FakeUpstream
) -> None:
    bad = await held_back(relay, upstream)
    database = relay.node.database
    await run(database, "UPDATE messages SET size_bytes = size_bytes + 1 WHERE pk = $1", bad)
    await let_go(relay)
    view = await put_aside(relay, bad)
    assert "put aside after 3 faults" in (view.recipients[0].reply or "")
    await run(database, "UPDATE messages SET size_bytes = size_bytes - 1 WHERE pk = $1", bad)
    await relay.node.orders.give(Order.RETRY, "acme", [bad])
    await relay.settled(bad, "sent")


async def test_the_sender_of_mail_that_was_put_aside_is_told(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("acme", dsn=DsnWish.ALWAYS)
    bad = await held_back(relay, upstream, ingress=Ingress.SMTP)
    await run(
        relay.node.database, "UPDATE messages SET size_bytes = size_bytes + 1 WHERE pk = $1", bad
    )
    await let_go(relay)
    [notice] = await upstream.wait_for(1)
    assert notice.recipients == ("app@acme.test",)
    assert b"Status: 5.3.0" in notice.content


async def test_mail_whose_content_is_gone_fails_at_once(
    relay: Relay, upstream: FakeUpstream
) -> None:
    bad = await held_back(relay, upstream)
    await run(relay.node.database, "DELETE FROM contents WHERE message_pk = $1", bad)
    await let_go(relay)
    view = await relay.settled(bad, "failed")
    assert "content of this mail is gone" in (view.recipients[0].reply or "")


async def test_damaged_mail_that_a_dead_node_had_does_not_keep_the_next_from_starting(
    relay: Relay, start_node: StartNode, upstream: FakeUpstream
) -> None:
    bad = await held_back(relay, upstream)
    await relay.stop()
    other = await start_node(**QUICK)
    await run(
        other.node.database,
        "UPDATE recipients SET state = 'sending', owner = 7777, begun_at = 1 WHERE message_pk = $1",
        bad,
    )
    await run(other.node.database, "INSERT INTO nodes VALUES (7777, 'gone', 0, 0)")
    await run(other.node.database, "UPDATE messages SET on_unknown = 'perhaps' WHERE pk = $1", bad)
    await other.stop()
    again = await start_node(**QUICK)
    await let_go(again)
    view = await again.settled(bad, "failed")
    assert "OnUnknown" in (view.recipients[0].reply or "")


@pytest.mark.parametrize("table", ["attempts", "events"])
async def test_a_result_that_the_store_refuses_holds_up_no_other_and_is_sent_once(
    relay: Relay, upstream: FakeUpstream, table: str
) -> None:
    bad = await held_back(relay, upstream)
    good = [(await relay.send(f"r{n}@there.test")).pk for n in range(20)]
    await refuse_inserts(relay.node.database, table, bad)
    started = time.monotonic()
    await let_go(relay)
    await upstream.wait_for(21)
    for pk in good:
        await relay.settled(pk, "sent")
    more = (await relay.send("more@there.test")).pk
    await relay.settled(more, "sent")
    assert time.monotonic() - started < SOON_S
    if table == "attempts":
        await relay.settled(bad, "sent")
    else:
        assert await relay.states(bad) == ["sending"]
    await allow_inserts(relay.node.database, table)
    await relay.settled(bad, "sent")
    assert len(upstream.received) == 22


async def refuse_inserts(database: Database, table: str, pk: str) -> None:
    if database.single_writer:
        sql = (
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN NEW.message_pk = '{pk}'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        await run(database, sql)
        return
    body = f"IF NEW.message_pk = '{pk}' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW;"
    await run(
        database,
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
        f" AS 'BEGIN {body.replace(chr(39), chr(39) * 2)} END'",
    )
    sql = f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
    await run(database, sql)


async def allow_inserts(database: Database, table: str) -> None:
    on = "" if database.single_writer else f" ON {table}"
    await run(database, f"DROP TRIGGER refuse{on}")


async def test_an_account_whose_password_is_damaged_rests_and_says_so(
    relay: Relay, upstream: FakeUpstream
) -> None:
    upstream.users = {"u": "p"}
    await relay.account(upstream, user="u", password="p")
    await relay.account(upstream, "other", kind=AccountKind.CAPTURE)
    await run(
        relay.node.database,
        "UPDATE accounts SET password = 'v1.bm9uc2Vuc2U=' WHERE id = $1 AND tenant_id = 'acme'",
        "main",
    )
    await relay.node.database.signal("account", "acme/main")
    bad = (await relay.send()).pk
    good = (await relay.send(account_id="other")).pk
    await relay.settled(good, "sent")
    await relay.rests()
    [(outlet, _)] = relay.node.dispatcher.troubled
    assert "stored password cannot be read" in outlet.health.reason
    await relay.account(upstream, user="u", password="p")
    await relay.settled(bad, "sent")


async def test_a_tenant_whose_secret_is_damaged_is_not_called_and_keeps_nobody_from_being_called(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.tenant("bad", client_base_url="http://127.0.0.1:1", callback_secret="whsec_x")
    await relay.account(upstream)
    await relay.account(upstream, tenant_id="bad")
    database = relay.node.database
    await run(database, "UPDATE tenants SET callback_secret = 'damaged' WHERE id = $1", "bad")
    await database.signal("tenant", "bad")
    pks = {tenant: (await relay.send(tenant_id=tenant)).pk for tenant in ("bad", "acme")}
    for tenant, pk in pks.items():
        await relay.settled_in(tenant, pk)
    tenants = {tenant.id: tenant for tenant in await relay.node.stores.tenants.all()}
    assert tenants["bad"].damaged == ("callback_secret",)
    assert tenants["acme"].damaged == ()

    async def both_failed() -> bool:
        rows = await database.fetch("SELECT tenant_id FROM reporters WHERE failures > 0")
        return {row["tenant_id"] for row in rows} == {"acme", "bad"}

    await until(both_failed)


async def test_a_bounce_that_cannot_be_recorded_is_put_aside_and_the_next_is_read(
    start_node: StartNode, upstream: FakeUpstream, imap: FakeImap
) -> None:
    relay = await start_node(**QUICK, **MAILBOXES)
    await relay.tenant("acme")
    bad, good = await sent_mail(relay, upstream), await sent_mail(relay, upstream)
    await run(
        relay.node.database, "UPDATE recipients SET state = 'lost' WHERE message_pk = $1", bad
    )
    imap.add(*(returned(mail) for mail in upstream.received))
    await watch(relay, imap.bounce_mailbox())
    await relay.settled(good, "bounced")

    async def is_marked() -> bool:
        return [kept.flags for kept in imap.mails.values()] == [{r"\Flagged"}, {r"\Seen"}]

    await until(is_marked)


async def test_an_event_that_is_damaged_is_reported_with_what_is_left_of_it(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**QUICK)
    await relay.tenant("acme", client_base_url="http://127.0.0.1:1")
    await relay.account(upstream)
    first = (await relay.send()).pk
    await relay.settled(first, "sent")
    await run(
        relay.node.database, "UPDATE events SET data = '{\"half' WHERE message_pk = $1", first
    )
    await run(relay.node.database, "UPDATE messages SET record = '[' WHERE pk = $1", first)
    events = await relay.node.stores.events.feed("acme", 0, 10)
    assert [event.kind for event in events] == ["sent"]
    assert events[0].data == {}
    assert (await relay.view(first)).recipients[0].state is State.SENT


async def test_a_second_portion_that_fails_does_not_send_the_first_again(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(**{**QUICK, "upstream.max_recipients": 2})
    await relay.tenant("acme")
    await relay.account(upstream, max_messages_per_connection=1)
    upstream.on["GREETING"] = [None, "421 4.3.2 going down"]
    pk = (await relay.send(*(f"r{n}@there.test" for n in range(4)))).pk
    await relay.settled(pk, "sent", "sent", "sent", "sent")
    told = [address for mail in upstream.received for address in mail.recipients]
    assert sorted(told) == [f"r{n}@there.test" for n in range(4)]


@pytest.mark.slow
async def test_mail_that_the_relay_dies_of_is_put_aside_after_a_bounded_number_of_deaths(
    database_url: str, tmp_path: Path
) -> None:
    soon = {"PILLARBOX_RETRY_WAITS_S": "0.2", "PILLARBOX_RETRY_MAX_FAULTS": "3"}
    async with (
        FakeUpstream(hang_at="EHLO") as upstream,
        FakeUpstream() as other,
        ServeProcess(tmp_path / "home", database_url, **soon) as serve,
    ):
        await serve.post("/tenant", {"id": "acme"})
        for name, server in (("deadly", upstream), ("main", other)):
            account = {"tenant_id": "acme", "id": name, "host": "127.0.0.1", "port": server.port}
            await serve.post("/account", {**account, "use_tls": False})
        await serve.post("/commands/add-messages", {"messages": [message("bad", "deadly")]})
        for deaths in range(1, 4):
            # It is in hand: the upstream was called, and offered nothing.
            await connected(upstream, deaths)
            await serve.kill()
            await serve.start()
            good = message(f"good{deaths}", "main")
            await serve.post("/commands/add-messages", {"messages": [good]})
            await other.wait_for(deaths)
        shown = await ended(serve, "bad")
        assert shown["status"] == "failed"
        assert "put aside" in str(shown["error"])
        assert upstream.connections == 3
        assert [entry["id"] for entry in serve.events("put_aside")] == [shown["pk"]]
        assert await serve.terminate() == 0


def message(id: str, account_id: str) -> dict[str, object]:
    fields = {"from": "app@acme.test", "to": "bob@there.test", "subject": "x", "body": "x"}
    return {"id": id, "tenant_id": "acme", "account_id": account_id, **fields}


async def connected(upstream: FakeUpstream, times: int) -> None:
    async def reached() -> bool:
        return upstream.connections >= times

    await until(reached, timeout_s=20)


async def ended(serve: ServeProcess, id: str) -> dict[str, object]:
    """Wait for the end of a mail, and return its record."""
    record: dict[str, object] = {}

    async def is_over() -> bool:
        answer = await serve.client.get(f"/messages/{id}", params={"tenant_id": "acme"})
        record.update(answer.json())
        return record["status"] in ("sent", "failed")

    await until(is_over, timeout_s=20, every_s=0.05)
    return record
