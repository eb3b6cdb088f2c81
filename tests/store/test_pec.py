"""Receipts of certified mail: recorded once, told of each recipient, kept as proof."""

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from relay.crypto import Keyring
from relay.formats.pec.model import ReceiptKind
from relay.formats.pec.read import read_receipt
from relay.metrics import Metrics
from relay.model import Account, State, Tenant
from relay.store import pec, receipts
from relay.store.accounts import AccountStore
from relay.store.database import Database
from relay.store.destroy import belongings, destroy
from relay.store.messages import MessageStore
from relay.store.orders import OrderStore
from relay.store.pec import Arrived, Filed, Found, record_receipt
from relay.store.pec_waits import Look, Waits, give_up_waiting
from relay.store.queue.arrival import Accepted
from relay.store.queue.orders import Order
from relay.store.receipts import ReceiptStore
from relay.store.retention import RetentionStore, Rule
from relay.store.spool import Spool
from relay.store.tenants import TenantStore
from tests.fakes.pec import AT, PecMail

from .conftest import mail, new_spool, put, settlement

BOB, ANN = "bob@pec.test", "ann@pec.test"
ABOUT = "<1@acme.test>"


@pytest.fixture
async def certified(db: Database, keyring: Keyring, acme: Tenant) -> Account:
    await TenantStore(db, keyring).save(replace(acme, client_base_url="http://client.test"))
    account = Account(acme.id, "main", "127.0.0.1", 25, is_pec_account=True, imap_host="h.test")
    await AccountStore(db, keyring).save(account)
    return account


async def sent(spool: Spool, account: Account, *to: str, **changes: object) -> Accepted:
    """Have a mail sent by an account."""
    given = {"message_id": ABOUT, "is_pec": account.is_pec_account, **changes}
    accepted = await put(spool, *(to or (BOB,)), **given)
    for delivery in await spool.claim("acme/main", 10):
        await spool.begin(delivery, account)
        ended = settlement(spool, delivery, State.SENT)
        await spool.settle(replace(ended, reports=True, is_pec=account.is_pec_account))
    return accepted


async def record(spool: Spool, given: PecMail | bytes, **changes: object) -> Filed:
    """Record a receipt as if it had come to the mailbox of acme's account."""
    raw = given if isinstance(given, bytes) else given.build()
    receipt = read_receipt(raw)
    assert receipt is not None
    seq = spool.next_seq(pec.MOST_EVENTS)
    arrived = Arrived("acme", "main", receipt, raw, spool.now(), seq)
    arrived = replace(arrived, **changes)  # type: ignore[arg-type]
    return await spool.database.write(partial(record_receipt, arrived))


async def told(db: Database, pk: str) -> list[tuple[str, int | None]]:
    events = await MessageStore(db).events(pk)
    return [(e.kind, e.n) for e in events if e.kind.startswith("pec_")]


async def states(db: Database, pk: str) -> list[str]:
    view = await MessageStore(db).find("acme", pk)
    assert view is not None
    return [r.state.value for r in view.recipients]


async def waiting(db: Database) -> list[int]:
    return sorted(row["n"] for row in await db.fetch("SELECT n FROM pec_waits"))


async def time_out(db: Database, spool: Spool, sent_before: float) -> list[Any]:
    look = Look(sent_before, spool.now(), spool.next_seq(500))
    return (await db.write(partial(give_up_waiting, look)))[1]


async def test_each_recipient_is_told_of_by_its_own_receipt(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, BOB, ANN)
    both = (BOB, ANN)
    acceptance = PecMail("accettazione", recipients=both, own_id="<a@g.test>")
    delivery = PecMail("avvenuta-consegna", recipients=both, reached=(ANN,), own_id="<b@g.test>")
    failure = PecMail("errore-consegna", recipients=both, reached=(BOB,), own_id="<c@g.test>")
    assert await record(spool, acceptance) == Filed(Found.RECORDED, accepted.pk, 1)
    assert (await record(spool, delivery)).number == 2
    assert (await record(spool, failure)).number == 3
    assert await told(db, accepted.pk) == [
        *(("pec_acceptance", 0), ("pec_acceptance", 1)),
        *(("pec_delivery", 1), ("pec_error", 0)),
    ]
    assert await states(db, accepted.pk) == ["bounced", "sent"]


async def test_an_event_says_what_the_receipt_says(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    why = "5.1.1 - Gestore - indirizzo non valido"
    failure = PecMail("errore-consegna", reached=(BOB.upper(),), error="no-dest", detail=why)
    await record(spool, failure)
    event = (await MessageStore(db).events(accepted.pk))[-1]
    assert (event.kind, event.at) == ("pec_error", AT)
    assert event.data == {
        "recipient": BOB,
        "account_id": "main",
        "details": f"errore-consegna (no-dest): {why}",
        "receipt": 1,
        "receipt_type": "errore-consegna",
        "receipt_message_id": "<r1@gestore.test>",
    }
    row = (await db.fetch("SELECT * FROM recipients"))[0]
    assert (row["bounce_type"], row["bounce_code"]) == ("hard", "5.1.1")
    assert (row["bounced_at"], row["bounce_reason"]) == (AT, event.data["details"])
    [report] = await db.fetch("SELECT report FROM events WHERE kind = 'pec_error'")
    assert report["report"] == "waiting"


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        *(("accettazione", "sent"), ("presa-in-carico", "sent"), ("avvenuta-consegna", "sent")),
        *(("preavviso-errore-consegna", "sent"), ("non-accettazione", "bounced")),
        *(("errore-consegna", "bounced"), ("rilevazione-virus", "bounced")),
    ],
)
async def test_only_what_ends_a_mail_makes_it_bounced(
    db: Database, spool: Spool, certified: Account, kind: str, state: str
) -> None:
    accepted = await sent(spool, certified)
    await record(spool, PecMail(kind, reached=(BOB,)))
    assert await states(db, accepted.pk) == [state]
    assert await waiting(db) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["delivered first", "failed first"])
async def test_proof_of_delivery_outweighs_a_failure(
    db: Database, spool: Spool, certified: Account, order: tuple[int, int]
) -> None:
    accepted = await sent(spool, certified)
    kinds = ("avvenuta-consegna", "errore-consegna")
    for place in order:
        await record(spool, PecMail(kinds[place], reached=(BOB,), own_id=f"<{place}@g.test>"))
    assert await states(db, accepted.pk) == ["sent"]
    [row] = await db.fetch("SELECT bounced_at, bounce_reason FROM recipients")
    assert (row["bounced_at"], row["bounce_reason"]) == (None, None)


async def test_a_receipt_counts_once_however_it_comes(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    raw = PecMail("accettazione").build()
    first = await record(spool, raw)
    assert await record(spool, raw) == replace(first, found=Found.REPEATED)
    elsewhere = b"Received: from another by mailbox.test\r\n" + raw
    assert (await record(spool, elsewhere, account_id="other")).found is Found.REPEATED
    assert await told(db, accepted.pk) == [("pec_acceptance", 0)]
    nameless = PecMail("avvenuta-consegna", reached=(BOB,), own_id=None).build()
    assert (await record(spool, nameless)).found is Found.RECORDED
    assert (await record(spool, nameless)).found is Found.REPEATED


async def test_receipts_that_share_a_message_id_are_several(
    spool: Spool, certified: Account
) -> None:
    await sent(spool, certified, BOB, ANN)
    for kind, reached in (("avvenuta-consegna", BOB), ("avvenuta-consegna", ANN)):
        mail = PecMail(kind, recipients=(BOB, ANN), reached=(reached,), own_id=ABOUT)
        assert (await record(spool, mail)).found is Found.RECORDED


async def test_receipts_of_one_message_that_come_at_once_get_numbers_of_their_own(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    mails = [PecMail("avvenuta-consegna", reached=(BOB,), own_id=f"<{n}@g.test>") for n in range(9)]
    filed = await asyncio.gather(*(record(spool, mail) for mail in [*mails, *mails]))
    recorded = [f.number for f in filed if f.found is Found.RECORDED]
    assert sorted(recorded) == list(range(1, 10))  # type: ignore[type-var]
    assert len(await told(db, accepted.pk)) == 9


async def test_a_receipt_touches_no_other_tenants_mail(
    db: Database, spool: Spool, certified: Account, keyring: Keyring
) -> None:
    accepted = await sent(spool, certified)
    await TenantStore(db, keyring).save(Tenant("rival", "Rival"))
    ours = {"X-Pillarbox-ID": accepted.pk, "X-Genro-Mail-ID": accepted.pk}
    refusal = PecMail("non-accettazione", headers=ours)
    assert await record(spool, refusal, tenant_id="rival") == Filed(Found.UNKNOWN)
    assert await told(db, accepted.pk) == []
    assert await states(db, accepted.pk) == ["sent"]
    assert await ReceiptStore(db).of("acme", accepted.pk) == []


async def test_mail_that_is_not_certified_has_no_receipts(
    spool: Spool, account: Account, keyring: Keyring, db: Database
) -> None:
    await sent(spool, account)
    found = await record(spool, PecMail("non-accettazione"), account_id="certified")
    assert found == Filed(Found.UNKNOWN)
    # The account was called certified afterwards.
    assert (await record(spool, PecMail("accettazione"))).found is Found.RECORDED


async def test_a_receipt_is_found_its_mail_by_what_is_certified_then_by_the_header(
    spool: Spool, certified: Account
) -> None:
    first = await sent(spool, certified, message_id="<first@acme.test>")
    second = await sent(spool, certified, message_id="<second@acme.test>")
    unknown = PecMail("accettazione", about="<nobody@acme.test>")
    assert (await record(spool, unknown)).found is Found.UNKNOWN
    by_header = replace(unknown, headers={"X-Riferimento-Message-ID": "<first@acme.test>"})
    assert (await record(spool, by_header)).message_pk == first.pk
    certified_one = replace(by_header, about="<second@acme.test>", own_id="<r2@g.test>")
    assert (await record(spool, certified_one)).message_pk == second.pk


async def test_a_receipt_is_found_its_mail_by_the_ids_that_we_added(
    spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, id="legal-1")
    for header, value in (("X-Pillarbox-ID", accepted.pk), ("X-Genro-Mail-ID", "legal-1")):
        mail = PecMail("accettazione", about=None, own_id=f"<{header}@g>", headers={header: value})
        assert (await record(spool, mail)).message_pk == accepted.pk


async def test_of_a_mail_sent_again_with_its_message_id_the_newest_is_meant(
    spool: Spool, certified: Account
) -> None:
    await sent(spool, certified, id="first")
    again = await sent(spool, certified, id="again")
    assert (await record(spool, PecMail("accettazione"))).message_pk == again.pk


async def test_a_receipt_about_nobody_we_wrote_to_is_kept_and_changes_no_recipient(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, BOB, ANN)
    stranger = PecMail("errore-consegna", reached=("eve@pec.test",), own_id="<1@g.test>")
    nobody = PecMail("errore-consegna", xml=None, own_id="<2@g.test>")
    for given in (stranger, nobody):
        assert (await record(spool, given)).found is Found.RECORDED
    assert await told(db, accepted.pk) == [("pec_error", None), ("pec_error", None)]
    events = (await MessageStore(db).events(accepted.pk))[-2:]
    assert [event.data["recipient"] for event in events] == ["eve@pec.test", None]
    assert await states(db, accepted.pk) == ["sent", "sent"]
    assert await waiting(db) == [0, 1]


async def test_a_receipt_that_names_nobody_is_about_the_only_recipient_or_the_whole_message(
    db: Database, spool: Spool, certified: Account
) -> None:
    one = await sent(spool, certified)
    await record(spool, PecMail("avvenuta-consegna", xml=None))
    assert await told(db, one.pk) == [("pec_delivery", 0)]
    two = await sent(spool, certified, BOB, ANN, message_id="<2@acme.test>")
    await record(spool, PecMail("non-accettazione", about="<2@acme.test>", xml=None))
    assert await told(db, two.pk) == [("pec_error", 0), ("pec_error", 1)]


async def test_receipts_are_given_out_byte_for_byte_when_content_and_message_are_gone(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, id="legal-1")
    raw = PecMail("avvenuta-consegna", reached=(BOB,), detail="x").build()
    await record(spool, raw)
    assert await MessageStore(db).content(accepted.pk) is None
    kept = ReceiptStore(db)
    await OrderStore(spool).give(Order.DELETE, "acme", [accepted.pk])
    assert await MessageStore(db).find("acme", "legal-1") is None
    for key in ("legal-1", accepted.pk):
        assert await kept.latest_pk("acme", key) == accepted.pk
        assert await kept.latest_pk("rival", key) is None
    assert await kept.body("acme", accepted.pk, 1) == raw
    assert await kept.body("rival", accepted.pk, 1) is None
    [view] = await kept.of("acme", accepted.pk)
    assert (view.kind, view.at, view.recipients) == (ReceiptKind.DELIVERY, AT, (BOB,))
    assert view.size_bytes == len(raw)


async def test_a_receipt_is_forgotten_when_it_is_old_and_never_before_its_message(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    await record(spool, PecMail("accettazione"))
    kept, later = ReceiptStore(db), spool.now() + 60
    await db.write(lambda: receipts.forget(later))
    assert len(await kept.of("acme", accepted.pk)) == 1
    rule = Rule("acme", ended_before=later, unreported=())
    assert await RetentionStore(db).apply(rule) == 1
    await db.write(lambda: receipts.forget(spool.now() - 60))
    assert len(await kept.of("acme", accepted.pk)) == 1
    await db.write(lambda: receipts.forget(later))
    assert await kept.of("acme", accepted.pk) == []


async def test_a_message_is_kept_until_its_last_receipt_is_reported(
    db: Database, spool: Spool, certified: Account
) -> None:
    await sent(spool, certified)
    await db.fetch("UPDATE events SET report = 'done' WHERE report = 'waiting' RETURNING seq")
    await record(spool, PecMail("accettazione"))
    assert await RetentionStore(db).apply(Rule("acme", spool.now() + 60)) == 0


async def test_a_message_is_kept_while_its_acceptance_is_awaited(
    db: Database, spool: Spool, certified: Account
) -> None:
    await sent(spool, certified)
    retention, rule = RetentionStore(db), Rule("acme", spool.now() + 60, unreported=())
    assert await retention.apply(rule) == 0
    await time_out(db, spool, spool.now() + 1)
    assert await retention.apply(rule) == 1


async def test_receipts_timeouts_and_settlements_at_once_do_not_stand_in_each_others_way(
    db: Database, spool: Spool, certified: Account
) -> None:
    about = [f"<{n}@acme.test>" for n in range(20)]
    accepted = [await put(spool, BOB, ANN, message_id=a, is_pec=True) for a in about]
    deliveries = await spool.claim("acme/main", 50)
    for delivery in deliveries:
        await spool.begin(delivery, certified)
    ended = [replace(settlement(spool, d, State.SENT), is_pec=True) for d in deliveries]
    raws = [PecMail("accettazione", about=a, recipients=(BOB, ANN)).build() for a in about]
    await asyncio.gather(
        *(spool.settle(one) for one in ended),
        *(record(spool, raw) for raw in raws),
        *(time_out(db, spool, spool.now() + 60) for _ in range(20)),
        *(record(spool, raw) for raw in reversed(raws)),
    )
    await time_out(db, spool, spool.now() + 60)
    assert await waiting(db) == []
    for one in accepted:
        acceptances = {n for kind, n in await told(db, one.pk) if kind == "pec_acceptance"}
        assert acceptances == {0, 1}
        assert await states(db, one.pk) == ["sent", "sent"]


async def test_a_tenant_is_told_of_the_receipts_that_go_with_it(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    await record(spool, PecMail("accettazione"))
    assert (await belongings(db, "acme")).counts["receipts"] == 1
    await destroy(db, "acme")
    assert await ReceiptStore(db).of("acme", accepted.pk) == []
    assert await waiting(db) == []


async def test_an_acceptance_that_does_not_come_in_time_is_told_once(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, BOB, ANN)
    [row, _] = await db.fetch("SELECT sent_at FROM pec_waits")
    assert await time_out(db, spool, row["sent_at"] - 1) == []
    assert await waiting(db) == [0, 1]
    other = new_spool(db, "node-2")
    found = await asyncio.gather(
        *(time_out(db, s, row["sent_at"]) for s in (spool, other, spool, other))
    )
    assert sorted(one.n for part in found for one in part) == [0, 1]
    assert await told(db, accepted.pk) == [("pec_timeout", 0), ("pec_timeout", 1)]
    assert await states(db, accepted.pk) == ["sent", "sent"]


async def test_after_a_timeout_the_acceptance_still_counts(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified)
    await time_out(db, spool, spool.now() + 1)
    await record(spool, PecMail("accettazione"))
    assert await told(db, accepted.pk) == [("pec_timeout", 0), ("pec_acceptance", 0)]


async def test_who_has_a_receipt_is_not_waited_for(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await sent(spool, certified, BOB, ANN)
    await record(spool, PecMail("accettazione", recipients=(ANN,)))
    assert await waiting(db) == [0]
    [overdue] = await time_out(db, spool, spool.now() + 1)
    assert (overdue.n, overdue.address, overdue.is_called) == (0, BOB, True)
    assert await told(db, accepted.pk) == [("pec_acceptance", 1), ("pec_timeout", 0)]


async def test_a_receipt_that_comes_before_the_mail_is_settled_ends_the_wait(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await put(spool, BOB, message_id=ABOUT)
    [delivery] = await spool.claim("acme/main", 1)
    await spool.begin(delivery, certified)
    assert (await record(spool, PecMail("accettazione"))).found is Found.RECORDED
    await spool.settle(replace(settlement(spool, delivery, State.SENT), is_pec=True))
    assert await time_out(db, spool, spool.now() + 1) == []
    assert await told(db, accepted.pk) == [("pec_acceptance", 0)]


async def test_mail_that_was_routed_is_certified_by_the_account_it_left_by(
    db: Database, spool: Spool, certified: Account, account: Account
) -> None:
    plain = await sent(spool, account, is_pec=False, message_id="<plain@acme.test>")
    assert await waiting(db) == []
    routed = await sent(spool, certified, is_pec=False)
    assert await waiting(db) == [0]
    for accepted, is_pec in ((plain, False), (routed, True)):
        view = await MessageStore(db).find("acme", accepted.pk)
        assert view is not None
        assert view.is_pec is is_pec


async def doubtful(spool: Spool, account: Account, *to: str) -> Accepted:
    """Have the answer to a mail lost, so that it waits to be sent again."""
    accepted = await put(spool, *to, message_id=ABOUT, is_pec=True)
    [delivery] = await spool.claim("acme/main", 1)
    await spool.begin(delivery, account)
    ended = settlement(spool, delivery, State.DEFERRED, due_in_s=3600)
    lost = [replace(resolution, unknowns=1) for resolution in ended.resolutions]
    await spool.settle(replace(ended, resolutions=tuple(lost), reports=True))
    return accepted


async def test_who_has_a_receipt_is_not_sent_to_again_though_the_answer_was_lost(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await doubtful(spool, certified, BOB, ANN)
    await record(spool, PecMail("accettazione", recipients=(ANN,)))
    assert await states(db, accepted.pk) == ["deferred", "sent"]
    view = await MessageStore(db).find("acme", accepted.pk)
    assert view is not None
    assert (view.final_at, view.recipients[1].account_id) == (None, "main")
    assert await MessageStore(db).content(accepted.pk) is not None
    failure = PecMail("errore-consegna", reached=(BOB,), own_id="<2@g.test>")
    assert (await record(spool, failure)).bounced == 1
    assert await states(db, accepted.pk) == ["bounced", "sent"]
    view = await MessageStore(db).find("acme", accepted.pk)
    assert view is not None
    assert view.final_at is not None
    assert await MessageStore(db).content(accepted.pk) is None
    events = await MessageStore(db).events(accepted.pk)
    assert [(e.kind, e.n) for e in events[-4:]] == [
        *(("sent", 1), ("pec_acceptance", 1), ("sent", 0), ("pec_error", 0))
    ]
    assert events[-4].data["reply"] == "known by its receipt: accettazione"


async def test_mail_that_an_upstream_refused_for_now_is_no_doubt(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await put(spool, BOB, message_id=ABOUT, is_pec=True)
    [delivery] = await spool.claim("acme/main", 1)
    await spool.begin(delivery, certified)
    await spool.settle(settlement(spool, delivery, State.DEFERRED, due_in_s=3600))
    await record(spool, PecMail("accettazione"))
    assert await states(db, accepted.pk) == ["deferred"]


async def test_mail_in_doubt_that_is_being_sent_is_left_to_its_courier(
    db: Database, spool: Spool, certified: Account
) -> None:
    accepted = await doubtful(spool, certified, BOB)
    await OrderStore(spool).give(Order.RETRY, "acme", [accepted.pk])
    [delivery] = await spool.claim("acme/main", 1)
    await record(spool, PecMail("accettazione"))
    assert await states(db, accepted.pk) == ["sending"]
    await spool.begin(delivery, certified)
    await spool.settle(replace(settlement(spool, delivery, State.SENT), is_pec=True))
    assert await states(db, accepted.pk) == ["sent"]


async def test_only_who_was_sent_to_is_waited_for(
    db: Database, spool: Spool, certified: Account
) -> None:
    await put(spool, BOB, ANN, message_id=ABOUT)
    [delivery] = await spool.claim("acme/main", 1)
    await spool.begin(delivery, certified)
    ended = replace(settlement(spool, delivery, State.SENT), is_pec=True)
    failed = replace(ended.resolutions[0], state=State.FAILED)
    await spool.settle(replace(ended, resolutions=(failed, ended.resolutions[1])))
    assert await waiting(db) == [1]


async def test_waits_end_with_the_message(db: Database, spool: Spool, certified: Account) -> None:
    accepted = await sent(spool, certified)
    await OrderStore(spool).give(Order.DELETE, "acme", [accepted.pk])
    assert await time_out(db, spool, spool.now() + 1) == []
    assert await waiting(db) == []


async def test_looking_takes_all_that_is_overdue_and_counts_it(
    db: Database, spool: Spool, certified: Account
) -> None:
    await spool.accept_all(
        [mail(spool, BOB, message_id=f"<{n}@acme.test>", is_pec=True) for n in range(510)]
    )
    deliveries = await spool.claim("acme/main", 600)
    await asyncio.gather(*(spool.begin(delivery, certified) for delivery in deliveries))
    ended = [replace(settlement(spool, d, State.SENT), is_pec=True) for d in deliveries]
    await asyncio.gather(*(spool.settle(one) for one in ended))
    metrics = Metrics()
    await Waits(spool, metrics, timeout_s=3600).look()
    assert len(await waiting(db)) == 510
    await Waits(spool, metrics, timeout_s=0).look()
    assert await waiting(db) == []
    assert b'pillarbox_pec_timeouts_total{tenant="acme"} 510.0' in metrics.render()[0]


async def test_a_receipt_is_counted_by_kind(spool: Spool, certified: Account) -> None:
    await sent(spool, certified)
    raw, metrics = PecMail("accettazione").build(), Metrics()
    receipt = read_receipt(raw)
    assert receipt is not None
    arrived = Arrived("acme", "main", receipt, raw, spool.now(), 1)
    for found in (Found.RECORDED, Found.REPEATED, Found.UNKNOWN):
        pec.tell(arrived, Filed(found, bounced=2 * (found is Found.RECORDED)), metrics)
    page = metrics.render()[0].decode()
    assert 'recipients_bounced_total{account="main",tenant="acme"} 2.0' in page
    for kind in ("accettazione", "repeated", "unknown"):
        assert f'pillarbox_pec_receipts_total{{kind="{kind}",tenant="acme"}} 1.0' in page


async def test_every_text_of_a_receipt_can_be_stored(
    db: Database, spool: Spool, certified: Account
) -> None:
    await sent(spool, certified)
    raw = (
        b"X-Genro-Mail-ID: \x00\xff\r\n"
        + PecMail(
            "accettazione", own_id="<a\x00b@g.test>", headers={"X-VerificaSicurezza": "errore"}
        ).build()
    )
    assert (await record(spool, raw)).found is Found.RECORDED
    [row] = await db.fetch("SELECT recipients, error FROM receipts")
    assert (json.loads(row["recipients"]), row["error"]) == ([BOB], "virus")
