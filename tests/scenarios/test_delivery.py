"""One mail from the door to the upstream, and everything an upstream may say on the way."""

import pytest

from relay.model import AccountKind, OnUnknown, Priority, TlsMode, lane_of
from tests.conftest import open_database
from tests.fakes.upstream import DROP, EXTENSIONS, LOCKSTEP, FakeUpstream
from tests.scenarios.conftest import Relay, StartNode
from tests.waiting import until


async def test_an_accepted_mail_is_delivered_at_once(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    accepted = await relay.send("bob@there.test")
    [mail] = await upstream.wait_for(1, 5)
    assert mail.content.endswith(b"Subject: hello\r\n\r\nhi\r\n")
    view = await relay.settled(accepted.pk, "sent")
    assert view.final_at is not None
    assert await relay.kinds(accepted.pk) == ["accepted", "sent"]


async def test_a_hundred_mails_arrive_once_each(relay: Relay, upstream: FakeUpstream) -> None:
    await relay.account(upstream)
    sent = [await relay.send(f"r{i}@there.test") for i in range(100)]
    await upstream.wait_for(100, 10)
    for accepted in sent:
        await relay.settled(accepted.pk, "sent")
    assert len({m.recipients for m in upstream.received}) == len(upstream.received) == 100


async def test_the_content_of_delivered_mail_is_dropped_unless_the_tenant_keeps_it(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    accepted = await relay.send()
    await relay.settled(accepted.pk, "sent")
    assert await relay.node.stores.messages.content(accepted.pk) is None
    await relay.tenant("acme", keep_content_days=1)
    kept = await relay.send()
    await relay.settled(kept.pk, "sent")
    assert await relay.node.stores.messages.content(kept.pk) is not None


@pytest.mark.parametrize("extensions", [EXTENSIONS, LOCKSTEP], ids=["pipelined", "lockstep"])
async def test_of_three_recipients_one_is_taken_one_refused_and_one_tried_again(
    relay: Relay, extensions: tuple[str, ...]
) -> None:
    refusals = {"no@t.test": "550 5.1.1 no such user", "later@t.test": "450 4.2.0 busy"}
    async with FakeUpstream(on={"RCPT": refusals}, extensions=extensions) as upstream:
        await relay.account(upstream)
        accepted = await relay.send("yes@t.test", "no@t.test", "later@t.test")
        await upstream.wait_for(1, 5)
        await relay.settled(accepted.pk, "sent", "failed", "deferred")
        upstream.on["RCPT"] = {"no@t.test": "550 5.1.1 no such user"}
        view = await relay.settled(accepted.pk, "sent", "failed", "sent")
        assert [r.attempts for r in view.recipients] == [1, 1, 2]
        assert [r.code for r in view.recipients] == [250, 550, 250]
        assert [m.recipients for m in upstream.received] == [("yes@t.test",), ("later@t.test",)]


async def test_an_upstream_that_drops_after_the_dot_is_asked_again_and_the_doubt_is_told(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["DOT"] = [DROP]
    accepted = await relay.send()
    view = await relay.settled(accepted.pk, "sent")
    assert (view.recipients[0].attempts, view.recipients[0].unknowns) == (2, 1)
    assert len(upstream.cut) == 1
    events = await relay.node.stores.messages.events(accepted.pk)
    assert [e.kind for e in events] == ["accepted", "deferred", "sent"]
    assert [e.data.get("possible_duplicate") for e in events] == [None, True, True]
    first, second = (m.content for m in (*upstream.cut, *upstream.received))
    assert first == second


async def test_a_mail_that_must_not_be_sent_twice_is_reported_when_its_answer_is_lost(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["DOT"] = DROP
    accepted = await relay.send(on_unknown=OnUnknown.REPORT)
    view = await relay.settled(accepted.pk, "failed")
    assert "not known" in (view.recipients[0].reply or "")
    assert len(upstream.cut) == 1


async def test_an_upstream_that_drops_at_data_has_taken_nothing(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["DATA"] = [DROP]
    accepted = await relay.send()
    view = await relay.settled(accepted.pk, "sent")
    assert view.recipients[0].unknowns == 0
    events = await relay.node.stores.messages.events(accepted.pk)
    assert all("possible_duplicate" not in e.data for e in events)


async def test_a_refusal_stands_when_the_upstream_hangs_at_rset(relay: Relay) -> None:
    async with FakeUpstream(
        on={"RCPT": "550 5.1.1 no such user"}, hang_at="RSET", extensions=LOCKSTEP
    ) as upstream:
        await relay.account(upstream)
        first = await relay.send()
        await relay.settled(first.pk, "failed")
        upstream.on["RCPT"] = None
        second = await relay.send()
        await relay.settled(second.pk, "sent", timeout_s=20)
        assert await relay.states(first.pk) == ["failed"]


async def test_a_421_to_the_second_mail_costs_it_nothing(relay: Relay) -> None:
    async with FakeUpstream(mails_per_connection=1) as upstream:
        await relay.account(upstream, max_connections=1)
        sent = [await relay.send(f"r{i}@t.test") for i in range(5)]
        for accepted in sent:
            view = await relay.settled(accepted.pk, "sent")
            assert view.recipients[0].attempts == 1
        assert len(upstream.received) == 5


async def test_retries_end_with_the_attempts_that_a_mail_may_have(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    upstream.on["RCPT"] = "451 4.3.0 not now"
    accepted = await relay.send(max_attempts=2)
    view = await relay.settled(accepted.pk, "failed")
    assert view.recipients[0].attempts == 2
    assert view.recipients[0].reply == "given up after 2 attempts: 4.3.0 not now"
    assert await relay.kinds(accepted.pk) == ["accepted", "deferred", "failed"]


async def test_a_fault_of_the_account_costs_the_mail_no_attempt(relay: Relay) -> None:
    async with FakeUpstream(on={"GREETING": "421 4.3.2 closed for today"}) as upstream:
        await relay.account(upstream)
        accepted = await relay.send()
        await relay.rests()
        await relay.settled(accepted.pk, "queued")
        upstream.on["GREETING"] = None
        view = await relay.settled(accepted.pk, "sent")
        assert view.recipients[0].attempts == 1
        assert not relay.node.dispatcher.troubled


async def test_mail_waits_while_its_upstream_is_down_and_leaves_in_order_afterwards(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream, max_connections=1)
    upstream.on["GREETING"] = "554 no service"
    sent = [await relay.send(f"r{i}@t.test") for i in range(20)]
    await relay.rests()
    upstream.on["GREETING"] = None
    for accepted in sent:
        await relay.settled(accepted.pk, "sent")
    assert [m.recipients[0] for m in upstream.received] == [f"r{i}@t.test" for i in range(20)]


async def test_a_login_that_is_refused_is_tried_once_and_the_account_rests(relay: Relay) -> None:
    async with FakeUpstream(users={"app": "right"}) as upstream:
        await relay.account(
            upstream, user="app", password="wrong", tls=TlsMode.NONE, tls_given=True
        )
        accepted = await relay.send()
        await relay.rests()
        await relay.settled(accepted.pk, "queued")
        await relay.account(
            upstream, user="app", password="right", tls=TlsMode.NONE, tls_given=True
        )
        await relay.settled(accepted.pk, "sent")


async def test_routed_mail_goes_by_the_next_rank_when_the_first_fails(relay: Relay) -> None:
    async with FakeUpstream(on={"GREETING": "421 no"}) as first, FakeUpstream() as second:
        await relay.account(first, "first", rank=1)
        await relay.account(second, "second", rank=2)
        accepted = await relay.send(account_id=None)
        view = await relay.settled(accepted.pk, "sent")
        assert view.recipients[0].account_id == "second"
        assert view.recipients[0].attempts == 1


async def test_routed_mail_prefers_the_account_of_its_senders_domain(relay: Relay) -> None:
    async with FakeUpstream() as general, FakeUpstream() as special:
        await relay.account(general, "general")
        await relay.account(special, "special", sender_domains=("shop.test",))
        await relay.settled((await relay.send(account_id=None)).pk, "sent")
        await relay.settled((await relay.send(account_id=None, sender="x@shop.test")).pk, "sent")
        assert (len(general.received), len(special.received)) == (1, 1)


async def test_scheduled_mail_leaves_when_its_time_has_come(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream)
    due_at = relay.node.spool.now() + 0.5
    accepted = await relay.send(due_at=due_at)
    assert await relay.states(accepted.pk) == ["deferred"]
    view = await relay.settled(accepted.pk, "sent")
    assert (view.final_at or 0) >= due_at


async def test_mail_that_is_too_old_is_given_up_and_not_sent(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node()
    await relay.tenant("acme")
    upstream.on["RCPT"] = "450 4.2.0 later"
    await relay.account(upstream)
    accepted = await relay.send(expires_in_s=0.3)
    view = await relay.settled(accepted.pk, "failed")
    assert not upstream.received
    assert view.final_at is not None


async def test_a_capture_account_keeps_the_mail_and_sends_nothing(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream, kind=AccountKind.CAPTURE)
    accepted = await relay.send()
    await relay.settled(accepted.pk, "sent")
    assert not upstream.received
    content = await relay.node.stores.messages.content(accepted.pk)
    assert content is not None
    assert content.endswith(b"hi\r\n")


async def test_an_upstream_without_8bitmime_gets_the_mail_re_encoded(relay: Relay) -> None:
    async with FakeUpstream(extensions=("PIPELINING",)) as upstream:
        await relay.account(upstream)
        body = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" + (
            "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
        )
        accepted = await relay.send(content=body.encode())
        await relay.settled(accepted.pk, "sent")
        [mail] = upstream.received
        assert mail.content.isascii()
        assert b"Gr=C3=BC=C3=9Fe" in mail.content


async def test_a_mail_larger_than_the_upstream_takes_fails_without_being_sent(relay: Relay) -> None:
    async with FakeUpstream(extensions=("PIPELINING", "SIZE 100")) as upstream:
        await relay.account(upstream)
        accepted = await relay.send(content=b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n")
        view = await relay.settled(accepted.pk, "failed")
        assert view.recipients[0].code == 552
        assert not any(command.startswith("MAIL") for command in upstream.commands)


async def test_a_message_for_more_recipients_than_the_upstream_takes_goes_in_portions(
    relay: Relay,
) -> None:
    async with FakeUpstream(recipients_per_mail=2) as upstream:
        await relay.account(upstream)
        accepted = await relay.send(*(f"r{i}@t.test" for i in range(5)))
        view = await relay.settled(accepted.pk, *["sent"] * 5)
        assert [r.attempts for r in view.recipients] == [1] * 5
        assert sorted(len(m.recipients) for m in upstream.received) == [1, 2, 2]


async def test_priority_goes_first_and_age_inside_it(relay: Relay, upstream: FakeUpstream) -> None:
    upstream.on["GREETING"] = "421 not yet"
    await relay.account(upstream, max_connections=1)
    order = []
    for number in range(30):
        priority = Priority(number % 4)
        await relay.send(f"p{priority.value}-{number:02}@t.test", priority=priority)
        order.append(f"p{priority.value}-{number:02}@t.test")
    await relay.rests()
    upstream.on["GREETING"] = None
    await upstream.wait_for(30, 20)
    assert [m.recipients[0] for m in upstream.received] == sorted(order)


async def test_a_node_that_stops_finishes_what_is_under_way(
    relay: Relay, upstream: FakeUpstream, database_url: str
) -> None:
    await relay.account(upstream, max_connections=2)
    upstream.delays["DOT"] = 0.3
    sent = [await relay.send(f"r{i}@t.test") for i in range(10)]
    await upstream.wait_for_connection()
    await relay.stop()
    database = await open_database(database_url)
    rows = await database.fetch("SELECT state FROM recipients")
    nodes = await database.fetch("SELECT epoch FROM nodes")
    await database.close()
    states = [row["state"] for row in rows]
    assert len(upstream.received) >= 1
    assert states.count("sent") == len(upstream.received)
    assert states.count("queued") == len(sent) - len(upstream.received)
    assert not nodes


async def test_an_account_that_rewrites_from_sends_as_itself_and_replies_reach_the_author(
    relay: Relay, upstream: FakeUpstream
) -> None:
    await relay.account(upstream, rewrite_from="noreply@provider.test")
    accepted = await relay.send(content=b"From: Ann <ann@acme.test>\r\nSubject: x\r\n\r\nhi\r\n")
    await relay.settled(accepted.pk, "sent")
    [mail] = upstream.received
    assert mail.sender == "noreply@provider.test"
    head = mail.content.partition(b"\r\n\r\n")[0]
    assert head.count(b"From: ") == 1
    assert b"From: <noreply@provider.test>" in head
    assert b"Reply-To: Ann <ann@acme.test>" in head


async def test_many_recipients_are_offered_in_portions(start_node: StartNode) -> None:
    relay = await start_node(**{"upstream.max_recipients": 100})
    await relay.tenant("acme")
    async with FakeUpstream() as upstream:
        await relay.account(upstream)
        accepted = await relay.send(*(f"r{n}@t.test" for n in range(250)))
        await relay.settled(accepted.pk, *["sent"] * 250)
        assert sorted(len(m.recipients) for m in upstream.received) == [50, 100, 100]


async def test_mail_for_genro_users_carries_their_id(
    start_node: StartNode, upstream: FakeUpstream
) -> None:
    relay = await start_node(compat="genro")
    await relay.tenant("acme")
    await relay.account(upstream)
    accepted = await relay.send(id="order-1")
    assert await relay.states(accepted.pk) == ["queued"]
    await relay.settled(accepted.pk, "sent")
    assert b"X-Genro-Mail-ID: order-1\r\n" in upstream.received[0].content


async def test_due_mail_that_is_not_sent_says_why(relay: Relay) -> None:
    lane = lane_of("acme", "main", "acme.test")
    async with FakeUpstream(on={"GREETING": "421 closed for today"}) as upstream:
        await relay.account(upstream, limit_per_minute=1)
        why = relay.node.dispatcher.why_waiting
        accepted = await relay.send()
        await relay.rests()
        assert "rests" in (why(lane) or "")
        assert "421 closed for today" in (why(lane) or "")
        upstream.on["GREETING"] = None
        await relay.settled(accepted.pk, "sent")
        second = await relay.send()

        async def is_limited() -> bool:
            return "rate limit" in (why(lane) or "")

        await until(is_limited)
        await relay.settled(second.pk, "queued")
        await relay.node.stores.accounts.delete("acme", "main")

        async def has_no_account() -> bool:
            return why(lane) == "no account can carry this mail"

        await until(has_no_account)


@pytest.mark.parametrize("whose", ["message", "account", "tenant"])
async def test_how_often_it_is_tried_is_said_by_the_mail_its_account_or_its_tenant(
    relay: Relay, whose: str
) -> None:
    async with FakeUpstream(on={"RCPT": "451 4.2.1 later"}) as upstream:
        await relay.tenant("acme", max_attempts=2 if whose == "tenant" else 9)
        account = {"message": 9, "account": 2, "tenant": None}[whose]
        await relay.account(upstream, max_attempts=account)
        sent = await relay.send(max_attempts=2 if whose == "message" else None)
        view = await relay.settled(sent.pk, "failed")
    assert view.recipients[0].attempts == 2
    assert (view.recipients[0].reply or "").startswith("given up after 2 attempts: ")


async def test_how_long_it_is_tried_is_said_by_the_tenant_where_nobody_else_does(
    relay: Relay,
) -> None:
    async with FakeUpstream(on={"RCPT": "451 4.2.1 later"}) as upstream:
        await relay.tenant("acme", expires_in_s=0.3)
        await relay.account(upstream)
        sent = await relay.send()
        kept = await relay.send(expires_in_s=3600)
        await relay.settled(sent.pk, "failed")
    assert await relay.states(kept.pk) != ["failed"]
