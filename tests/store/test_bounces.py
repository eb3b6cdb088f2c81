"""What a mail that came back does, and what it must never do."""

from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from relay.crypto import Keyring
from relay.formats import verp
from relay.formats.bounce.model import Clues, Kind, Returned, ReturnedRecipient
from relay.metrics import Metrics
from relay.model import Account, OnUnknown, State, Tenant, new_pk
from relay.store import suppressions
from relay.store.accounts import AccountStore
from relay.store.bounces import MOST_EVENTS, Recorded, Source, announce, record
from relay.store.database import Database
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.queue.orders import Order
from relay.store.retention import RetentionStore, Rule
from relay.store.spool import Spool
from relay.store.suppressions import SuppressionStore
from relay.store.tenants import TenantStore

from .conftest import RecordingTaker, mail, put, settlement

PATH = verp.ReturnPath("bounce", "bounces.test")
DAY_S = 86_400.0


def returned(
    *addresses: str | None,
    kind: Kind = Kind.HARD,
    clues: Clues | None = None,
    is_complaint: bool = False,
) -> Returned:
    told = tuple(
        ReturnedRecipient(a, "failed", "5.1.1", 550, kind, "userunknown", "550 no such user", None)
        for a in addresses
    )
    return Returned(kind, "userunknown", told, is_complaint, clues or Clues())


@dataclass
class Post:
    """Mail that was sent and comes back. `keys` are those of the instance."""

    db: Database
    spool: Spool
    account: Account
    keyring: Keyring
    tenants: TenantStore
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def keys(self) -> tuple[bytes, ...]:
        return self.keyring.derived(verp.PURPOSE)

    async def sent(self, *addresses: str, state: State = State.SENT, **changes: object) -> str:
        accepted = await put(self.spool, *(addresses or ("x@there.test",)), **changes)
        await self.settle(state)
        return accepted.pk

    async def settle(self, state: State, unknowns: int = 0) -> None:
        for delivery in await self.spool.claim("acme/main", 100):
            await self.spool.begin(delivery, self.account)
            ended = settlement(self.spool, delivery, state, due_in_s=600)
            resolutions = tuple(replace(r, unknowns=unknowns) for r in ended.resolutions)
            await self.spool.settle(replace(ended, resolutions=resolutions, reports=True))

    async def comes_back(self, item: Returned, tenant_id: str | None = None) -> str:
        """Record it as it came to a mailbox; return what became of it."""
        spool, source = self.spool, Source(tenant_id, self.keys)
        script = partial(record, item, source, spool.now(), spool.next_seq(MOST_EVENTS))
        recorded: Recorded = await self.db.write(script)
        await announce(self.db, self.metrics, recorded)
        return recorded.verdict

    def token(self, pk: str, n: int | None = None, key: bytes | None = None) -> Clues:
        address = verp.signed(PATH, verp.Reference(pk, n), key or self.keys[0])
        return Clues(delivered_to=(address,))

    async def states(self, pk: str) -> list[str]:
        view = await MessageStore(self.db).find("acme", pk)
        assert view is not None
        return [r.state.value for r in view.recipients]

    async def kinds(self, pk: str) -> list[str]:
        return [event.kind for event in await MessageStore(self.db).events(pk)]

    async def suppressed(self, tenant_id: str = "acme") -> list[str]:
        items = await SuppressionStore(self.db).page(tenant_id, "", 100)
        return [item.address for item in items]

    async def everything(self) -> list[object]:
        rows: list[object] = []
        for table in ("messages", "recipients", "events", "suppressions"):
            found = await self.db.fetch(f"SELECT * FROM {table}")
            rows += sorted(str(list(row)) for row in found)  # type: ignore[call-overload] # a row is iterable
        return rows


@pytest.fixture
async def post(db: Database, spool: Spool, account: Account, keyring: Keyring) -> Post:
    tenants = TenantStore(db, keyring)
    await tenants.save(Tenant("acme", "Acme", client_base_url="https://acme.test"))
    return Post(db, spool, account, keyring, tenants)


@pytest.mark.parametrize("kind", [Kind.HARD, Kind.SOFT, Kind.BLOCK])
async def test_a_recipient_whose_mail_came_back_is_bounced_and_told_of(
    post: Post, kind: Kind
) -> None:
    pk = await post.sent("x@there.test", "y@there.test")
    said = returned("X@there.test", kind=kind, clues=post.token(pk))
    assert await post.comes_back(said) == kind.value
    view = await MessageStore(post.db).find("acme", pk)
    assert view is not None
    bounced, other = view.recipients
    assert (bounced.state, other.state) == (State.BOUNCED, State.SENT)
    assert (bounced.bounce_type, bounced.bounce_code) == (kind.value, "5.1.1")
    assert bounced.bounce_reason == "550 no such user"
    assert bounced.bounced_at == pytest.approx(post.spool.now(), abs=10)
    assert view.updated_at == bounced.bounced_at
    event = (await MessageStore(post.db).events(pk))[-1]
    assert (event.kind, event.n) == ("bounced", 0)
    waiting = await post.db.fetch("SELECT report FROM events WHERE kind = 'bounced'")
    assert [row["report"] for row in waiting] == ["waiting"]


async def test_the_same_bounce_again_changes_nothing(post: Post) -> None:
    pk = await post.sent()
    said = returned("x@there.test", clues=post.token(pk))
    await post.comes_back(said)
    before = await post.everything()
    assert await post.comes_back(said) == "duplicate"
    assert await post.comes_back(replace(said, kind=Kind.SOFT)) == "duplicate"
    assert await post.everything() == before


async def test_what_is_no_bounce_changes_nothing(post: Post) -> None:
    pk = await post.sent()
    before = await post.everything()
    said = returned("x@there.test", kind=Kind.NONE, clues=post.token(pk))
    assert await post.comes_back(said) == "none"
    assert await post.everything() == before


async def test_a_forged_token_changes_nothing_whatever_else_the_mail_says(post: Post) -> None:
    pk = await post.sent(message_id="<m@acme.test>")
    before = await post.everything()
    clues = replace(
        post.token(pk, key=b"x" * 32), pillarbox_ids=(pk,), message_ids=("<m@acme.test>",)
    )
    assert await post.comes_back(returned("x@there.test", clues=clues)) == "forged"
    assert await post.everything() == before
    assert b'pillarbox_bounces_total{type="forged"} 1.0' in post.metrics.render()[0]


@pytest.mark.parametrize(
    "clues",
    [
        Clues(pillarbox_ids=("PK",)),
        Clues(envelope_id="PK"),
        Clues(message_ids=("order@acme.test",)),
        Clues(message_ids=("<other@b.test>", " <order@acme.test> ")),
        Clues(genro_ids=("order-1",)),
    ],
)
async def test_a_mail_is_known_by_each_of_its_ids(post: Post, clues: Clues) -> None:
    pk = await post.sent(id="order-1", message_id="<order@acme.test>")
    if clues.pillarbox_ids or clues.envelope_id:
        clues = Clues(pillarbox_ids=(pk,)) if clues.pillarbox_ids else Clues(envelope_id=pk)
    assert await post.comes_back(returned("x@there.test", clues=clues)) == "hard"
    assert await post.states(pk) == ["bounced"]


async def test_a_bounce_of_nothing_that_we_sent_changes_nothing(post: Post) -> None:
    pk = await post.sent(id="m1", message_id="<m1@acme.test>")
    before = await post.everything()
    for clues in (
        Clues(),
        Clues(pillarbox_ids=("0199f0c4-1c2d-7abc-8def-0123456789ab",)),
        Clues(message_ids=("<m2@acme.test>",)),
        Clues(genro_ids=("m2",)),
        Clues(delivered_to=(f"bounce+{pk}@bounces.test",)),
    ):
        assert await post.comes_back(returned("x@there.test", clues=clues)) == "unmatched"
    assert await post.everything() == before


async def test_nobody_is_touched_who_is_no_recipient_of_the_mail(post: Post) -> None:
    pk = await post.sent("x@there.test", "y@there.test")
    before = await post.everything()
    for clues in (Clues(pillarbox_ids=(pk,)), post.token(pk)):
        assert await post.comes_back(returned("victim@there.test", clues=clues)) == "unmatched"
    assert await post.everything() == before


async def test_a_signed_address_names_the_recipient_whatever_the_bounce_calls_it(
    post: Post,
) -> None:
    pk = await post.sent("x@there.test", "y@there.test")
    said = returned("forwarded@elsewhere.test", clues=post.token(pk, 1))
    assert await post.comes_back(said) == "hard"
    assert await post.states(pk) == ["sent", "bounced"]
    assert await post.suppressed() == ["y@there.test"]


async def test_a_bounce_that_names_nobody_is_of_the_only_recipient(post: Post) -> None:
    alone, several = await post.sent(id="m1"), await post.sent("x@t.test", "y@t.test", id="m2")
    assert await post.comes_back(returned(clues=Clues(genro_ids=("m1",)))) == "hard"
    assert await post.states(alone) == ["bounced"]
    assert await post.comes_back(returned(None, clues=Clues(genro_ids=("m2",)))) == "unmatched"
    assert await post.states(several) == ["sent", "sent"]


async def test_the_mailbox_of_a_tenant_says_nothing_of_anothers_mail(post: Post) -> None:
    await post.tenants.save(Tenant("rival", "Rival"))
    pk = await post.sent(id="m1", message_id="<m1@acme.test>")
    before = await post.everything()
    for clues in (
        post.token(pk, 0),
        Clues(pillarbox_ids=(pk,)),
        Clues(message_ids=("<m1@acme.test>",)),
        Clues(genro_ids=("m1",)),
    ):
        assert await post.comes_back(returned("x@there.test", clues=clues), "rival") == "unmatched"
    assert await post.everything() == before
    assert await post.comes_back(returned("x@there.test", clues=post.token(pk)), "acme") == "hard"
    assert await post.suppressed("rival") == []


async def test_an_id_that_two_tenants_have_names_no_mail(post: Post) -> None:
    await post.tenants.save(Tenant("rival", "Rival"))
    await AccountStore(post.db, post.keyring).save(Account("rival", "main", "127.0.0.1", 25))
    await post.sent(id="m1")
    await put(post.spool, id="m1", tenant_id="rival")
    await post.settle(State.SENT)
    said = returned("x@there.test", clues=Clues(genro_ids=("m1",)))
    assert await post.comes_back(said) == "unmatched"
    assert await post.comes_back(said, "acme") == "hard"
    assert await post.comes_back(said, "rival") == "hard"


async def test_of_a_mail_and_its_repetition_the_newest_that_was_sent_is_meant(post: Post) -> None:
    clues = Clues(message_ids=("<same@acme.test>",))
    first = await post.sent(message_id="<same@acme.test>")
    second = await post.sent(message_id="<same@acme.test>")
    failed = await post.sent(message_id="<same@acme.test>", state=State.FAILED)
    assert await post.comes_back(returned("x@there.test", clues=clues)) == "hard"
    assert await post.states(second) == ["bounced"]
    assert await post.comes_back(returned("x@there.test", clues=clues)) == "hard"
    assert await post.states(first) == ["bounced"]
    assert await post.comes_back(returned("x@there.test", clues=clues)) == "duplicate"
    assert await post.states(failed) == ["failed"]


async def test_a_mail_that_waits_to_be_sent_cannot_have_come_back(post: Post) -> None:
    pk = await post.sent(state=State.DEFERRED)
    before = await post.everything()
    assert await post.comes_back(returned("x@there.test", clues=post.token(pk))) == "duplicate"
    assert await post.everything() == before


async def test_a_mail_of_which_nobody_knows_whether_it_was_sent_is_sent_no_more(
    post: Post,
) -> None:
    accepted = await put(post.spool, on_unknown=OnUnknown.RETRY)
    await post.settle(State.DEFERRED, unknowns=1)
    said = returned("x@there.test", clues=post.token(accepted.pk))
    assert await post.comes_back(said) == "hard"
    view = await MessageStore(post.db).find("acme", accepted.pk)
    assert view is not None
    assert view.final_at is not None
    assert await MessageStore(post.db).content(accepted.pk) is None
    assert [r.state for r in view.recipients] == [State.BOUNCED]


async def test_a_bounce_that_is_faster_than_our_own_record_stands(post: Post) -> None:
    accepted = await put(post.spool)
    [delivery] = await post.spool.claim("acme/main", 10)
    await post.spool.begin(delivery, post.account)
    said = returned("x@there.test", clues=post.token(accepted.pk))
    assert await post.comes_back(said) == "hard"
    await post.spool.settle(settlement(post.spool, delivery, State.SENT))
    assert await post.states(accepted.pk) == ["bounced"]
    rows = await post.db.fetch("SELECT open_recipients FROM messages")
    assert [row["open_recipients"] for row in rows] == [0]


async def test_a_bounced_mail_is_kept_from_then_on_until_that_is_reported(post: Post) -> None:
    long_ago = post.spool.now() - 999
    pk = await post.sent(pk=new_pk(long_ago), accepted_at=long_ago)
    await post.db.fetch("UPDATE events SET report = 'done' WHERE kind = 'sent' RETURNING seq")
    await post.db.fetch("UPDATE messages SET final_at = final_at - 999 RETURNING pk")
    await post.comes_back(returned("x@there.test", clues=post.token(pk)))
    retention, now = RetentionStore(post.db), post.spool.now()
    assert await retention.apply(Rule("acme", ended_before=now - 500, unreported=())) == 0
    assert await retention.apply(Rule("acme", ended_before=now + 500)) == 0
    await post.db.fetch("UPDATE events SET report = 'done' RETURNING seq")
    assert await retention.apply(Rule("acme", ended_before=now + 500)) == 1


async def test_a_hard_bounce_suppresses_its_address_and_others_do_not(post: Post) -> None:
    for kind, address in ((Kind.SOFT, "s@t.test"), (Kind.BLOCK, "b@t.test")):
        await post.comes_back(
            returned(address, kind=kind, clues=post.token(await post.sent(address)))
        )
    assert await post.suppressed() == []
    pk = await post.sent("Ann@There.test")
    await post.comes_back(returned("ann@there.test", clues=post.token(pk)))
    [item] = await SuppressionStore(post.db).page("acme", "", 10)
    assert (item.address, item.source) == ("ann@there.test", suppressions.BOUNCE)
    assert item.reason == "550 no such user"
    assert item.until == pytest.approx(item.since + 30 * DAY_S)


@pytest.mark.parametrize(
    ("setting", "days"), [("off", 0.0), ("forever", None), ("2d", 2.0), (None, 30.0)]
)
async def test_how_long_it_is_suppressed_is_the_tenants_to_say(
    post: Post, setting: str | None, days: float | None
) -> None:
    await post.tenants.save(Tenant("acme", "Acme", suppression=setting))
    pk = await post.sent()
    await post.comes_back(returned("x@there.test", clues=post.token(pk)))
    items = await SuppressionStore(post.db).page("acme", "", 10)
    wanted = [] if days == 0 else [days and pytest.approx(days * DAY_S)]
    assert [item.until and item.until - item.since for item in items] == wanted


async def test_a_bounce_does_not_shorten_what_was_entered_for_good(post: Post) -> None:
    pk, store = await post.sent(), SuppressionStore(post.db)
    by_hand = suppressions.Suppression("acme", "x@there.test", "asked", suppressions.MANUAL, 1.0)
    await store.put([by_hand])
    await post.comes_back(returned("x@there.test", clues=post.token(pk)))
    assert await store.page("acme", "", 10) == [by_hand]
    await store.put([replace(by_hand, until=post.spool.now() + 60)])
    again = await post.sent(id="again", takes_suppressed=True)
    assert await post.states(again) == ["failed"]


async def test_a_complaint_suppresses_and_leaves_the_mail_as_it_is(post: Post) -> None:
    pk = await post.sent("x@there.test", "y@there.test")
    said = returned(kind=Kind.NONE, clues=post.token(pk, 1), is_complaint=True)
    assert await post.comes_back(said) == "complaint"
    assert await post.states(pk) == ["sent", "sent"]
    assert await post.kinds(pk) == ["accepted", "sent", "sent", "complaint"]
    [item] = await SuppressionStore(post.db).page("acme", "", 10)
    assert (item.address, item.source) == ("y@there.test", suppressions.COMPLAINT)
    assert await post.comes_back(said) == "duplicate"
    assert await post.kinds(pk) == ["accepted", "sent", "sent", "complaint"]


async def test_a_hostile_number_of_ids_is_not_all_looked_up(post: Post) -> None:
    pk = await post.sent()
    many = tuple(f"id-{n}" for n in range(5000))
    said = returned("x@there.test", clues=Clues(pillarbox_ids=(*many, pk)))
    assert await post.comes_back(said) == "unmatched"


async def test_what_no_database_takes_spoils_no_bounce(post: Post) -> None:
    pk = await post.sent()
    said = returned("x@there.test", clues=Clues(genro_ids=("a\0b",), message_ids=("<\ud800@b>",)))
    assert await post.comes_back(said) == "unmatched"
    told = replace(said.recipients[0], diagnostic="550 no\0such \ud800 user")
    said = replace(said, recipients=(told,), clues=Clues(pillarbox_ids=("\0", pk)))
    assert await post.comes_back(said) == "hard"
    [item] = await SuppressionStore(post.db).page("acme", "", 10)
    assert item.reason == "550 no such   user"


async def test_two_recipients_may_come_back_in_one_mail_each_in_its_own_way(post: Post) -> None:
    pk = await post.sent("x@there.test", "y@there.test", "z@there.test")
    soft, hard = returned("x@there.test", kind=Kind.SOFT), returned("y@there.test")
    both = replace(hard, recipients=soft.recipients + hard.recipients, clues=post.token(pk))
    assert await post.comes_back(both) == "hard"
    assert await post.states(pk) == ["bounced", "bounced", "sent"]
    assert await post.suppressed() == ["y@there.test"]


# What is suppressed, at acceptance.


async def test_every_node_sees_at_once_what_any_suppressed(post: Post) -> None:
    """No signal is needed: it is asked where the mail is stored."""
    item = suppressions.Suppression("acme", "x@there.test", "", suppressions.MANUAL, 1.0)
    await post.db.write(partial(suppressions.add, [item]))
    answers = await post.spool.accept_all(
        [mail(post.spool, "X@there.test"), mail(post.spool, "y@there.test")]
    )
    assert [getattr(answer, "reason", "stored") for answer in answers] == ["suppressed", "stored"]


async def test_a_mail_that_is_taken_though_nobody_gets_it_is_over_at_once(post: Post) -> None:
    item = suppressions.Suppression("acme", "x@there.test", "", suppressions.MANUAL, 1.0)
    await SuppressionStore(post.db).put([item])
    large = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 30_000
    accepted = await put(post.spool, takes_suppressed=True, content=large)
    view = await MessageStore(post.db).find("acme", accepted.pk)
    assert view is not None
    assert view.final_at is not None
    assert [(r.state, r.code, r.reply) for r in view.recipients] == [
        (State.FAILED, 550, "suppressed")
    ]
    assert await MessageStore(post.db).content(accepted.pk) is None
    assert await post.db.fetch("SELECT n FROM content_parts") == []
    assert await post.spool.claim("acme/main", 10) == []
    rows = await post.db.fetch("SELECT kind, report FROM events ORDER BY seq")
    assert [(r["kind"], r["report"]) for r in rows] == [
        ("accepted", "none"),
        ("suppressed", "waiting"),
    ]


async def test_what_is_handed_over_in_memory_is_for_the_others_only(post: Post) -> None:
    item = suppressions.Suppression("acme", "x@there.test", "", suppressions.MANUAL, 1.0)
    await SuppressionStore(post.db).put([item])
    taker = RecordingTaker(takes=True)
    post.spool.serve(taker)
    await put(post.spool, "x@there.test", "y@there.test")
    await put(post.spool, "x@there.test", takes_suppressed=True)
    assert [[p.address for p in d.pending] for d in taker.taken] == [["y@there.test"]]
    assert taker.cancelled == ["acme/main"]


async def test_a_replaced_mail_is_recognised_by_the_pk_that_it_keeps(post: Post) -> None:
    first = await put(post.spool, id="m1", due_at=post.spool.now() + 600)
    again = mail(post.spool, id="m1", message_id="x")
    again = replace(
        again, content=f"X-Pillarbox-ID: {again.pk}\r\n\r\nhi\r\n".encode(), message_id=again.pk
    )
    accepted = await post.spool.accept(again)
    assert accepted.pk == first.pk
    content = await MessageStore(post.db).content(first.pk)
    assert content == f"X-Pillarbox-ID: {first.pk}\r\n\r\nhi\r\n".encode()
    view = await MessageStore(post.db).find("acme", "m1")
    assert view is not None
    assert view.message_id == first.pk


async def test_what_has_ended_is_swept_and_the_rest_is_not(post: Post) -> None:
    now = post.spool.now()
    ends = {"a@t.test": now - 5, "b@t.test": now + 500, "c@t.test": None}
    items = [
        suppressions.Suppression("acme", address, "", suppressions.MANUAL, 1.0, until)
        for address, until in ends.items()
    ]
    await SuppressionStore(post.db).put(items)
    await post.db.write(partial(suppressions.forget, now))
    rows = await post.db.fetch("SELECT address FROM suppressions ORDER BY address")
    assert [row["address"] for row in rows] == ["b@t.test", "c@t.test"]


async def test_a_cached_answer_is_forgotten_when_a_node_tells_of_a_change(post: Post) -> None:
    here, there = SuppressionStore(post.db), SuppressionStore(post.db)
    assert not await here.covers("acme", "x@there.test")
    item = suppressions.Suppression("acme", "x@there.test", "", suppressions.MANUAL, 1.0)
    await there.put([item])
    assert await here.covers("acme", "X@There.test")
    assert not await here.covers("rival", "x@there.test")


async def test_a_retry_of_a_failed_mail_is_not_for_the_suppressed(post: Post) -> None:
    pk = await post.sent("x@there.test", "y@there.test", state=State.FAILED)
    await post.db.fetch(
        "INSERT INTO contents (message_pk, body) VALUES ($1, $2) RETURNING message_pk", pk, b"x"
    )
    item = suppressions.Suppression("acme", "x@there.test", "", suppressions.MANUAL, 1.0)
    await SuppressionStore(post.db).put([item])
    await OrderStore(post.spool).give(Order.RETRY, "acme", [pk])
    assert await post.states(pk) == ["failed", "queued"]
