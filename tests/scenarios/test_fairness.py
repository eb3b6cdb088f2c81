"""Who goes first: tenants in turn by weight, priority and age inside an account, and nobody behind
a bulk mailing.
"""

from tests.fakes.upstream import FakeUpstream
from tests.scenarios.conftest import StartNode

TENANTS = 20
ACCOUNTS_EACH = 5
EACH = 5


async def test_five_hundred_mails_of_a_hundred_accounts_leave_in_turn_and_in_order(
    start_node: StartNode,
) -> None:
    relay = await start_node(**{"dispatch.max_deliveries": 3})
    async with FakeUpstream(keeps_content=False) as upstream:
        for t in range(TENANTS):
            await relay.tenant(f"t{t:02}")
            for a in range(ACCOUNTS_EACH):
                await relay.account(upstream, f"a{a}", f"t{t:02}", max_connections=1)
        # Long enough to hand in all of it first, on a slow machine too.
        due_at = relay.node.spool.now() + 6
        for n in range(EACH):
            for t in range(TENANTS):
                for a in range(ACCOUNTS_EACH):
                    await relay.send(
                        f"a{a}-{n}@t.test", tenant_id=f"t{t:02}", account_id=f"a{a}", due_at=due_at
                    )
        await upstream.wait_for(TENANTS * ACCOUNTS_EACH * EACH, 60)
        order: dict[tuple[str, str], list[str]] = {}
        for mail in upstream.received:
            account, _, number = mail.recipients[0].partition("@")[0].partition("-")
            order.setdefault((mail.sender, account), []).append(number)
        assert len(order) == TENANTS * ACCOUNTS_EACH
        assert all(numbers == sorted(numbers) for numbers in order.values())
        # In the first half nobody has had much more than its share.
        half = [m.sender for m in upstream.received[: TENANTS * ACCOUNTS_EACH * EACH // 2]]
        shares = [half.count(sender) for sender in {m.sender for m in upstream.received}]
        assert min(shares) >= ACCOUNTS_EACH * EACH // 2 - ACCOUNTS_EACH
        assert max(shares) <= ACCOUNTS_EACH * EACH // 2 + ACCOUNTS_EACH


async def test_a_password_reset_is_not_held_up_by_anothers_bulk_mailing(
    start_node: StartNode,
) -> None:
    relay = await start_node(**{"dispatch.max_deliveries": 4})
    async with FakeUpstream(keeps_content=False, delays={"DOT": 0.2}) as upstream:
        for tenant_id in ("bulk", "shop"):
            await relay.tenant(tenant_id)
            await relay.account(upstream, tenant_id=tenant_id)
        for n in range(200):
            await relay.send(f"b{n}@t.test", tenant_id="bulk")
        before = len(upstream.received)
        assert before < 150
        accepted = await relay.send("reset@t.test", tenant_id="shop")
        await relay.settled_in("shop", accepted.pk)
        place = [m.recipients for m in upstream.received].index(("reset@t.test",))
        # Without turns it would be behind all of the 200.
        assert place - before <= 24


async def test_weights_share_the_places(start_node: StartNode) -> None:
    relay = await start_node(**{"dispatch.max_deliveries": 1})
    async with FakeUpstream(keeps_content=False) as upstream:
        await relay.tenant("big", weight=3)
        await relay.tenant("small", weight=1)
        due_at = relay.node.spool.now() + 1.5
        for tenant_id in ("big", "small"):
            await relay.account(upstream, tenant_id=tenant_id, max_connections=2)
            for n in range(60):
                await relay.send(f"r{n}@t.test", tenant_id=tenant_id, due_at=due_at)
        await upstream.wait_for(120, 30)
        first = [m.sender for m in upstream.received[4:44]]
        assert 27 <= first.count("app@big.test") <= 33
