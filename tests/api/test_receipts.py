"""GET /messages/{id} shows receipts of certified mail, and those below give them out."""

from functools import partial

import httpx

from relay.formats.pec.read import read_receipt
from relay.store.pec import MOST_EVENTS, Arrived, record_receipt
from relay.store.spool import Spool
from tests.api.serving import Api, Json, Message
from tests.fakes.pec import AT, PecMail

OF_ACME = {"tenant_id": "acme"}
BOB = "bob@pec.test"


async def certified(client: httpx.AsyncClient, message: Message) -> None:
    account = {"id": "pec", "host": "h.test", "port": 25, "is_pec_account": True}
    await client.post("/account", json=account)
    mail = message(id="legal-1", account_id="pec", to=BOB, message_id="<1@acme.test>")
    assert (await client.post("/commands/add-messages", json={"messages": [mail]})).json()["queued"]


async def come(spool: Spool, *mails: PecMail) -> list[bytes]:
    raws = [mail.build() for mail in mails]
    for raw in raws:
        receipt = read_receipt(raw)
        assert receipt is not None
        seq = spool.next_seq(MOST_EVENTS)
        arrived = Arrived("acme", "pec", receipt, raw, spool.now(), seq)
        await spool.database.write(partial(record_receipt, arrived))
    return raws


async def test_a_message_shows_its_receipts_and_gives_each_out_as_it_came(
    acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    record = (await acme.get("/messages/legal-1", params=OF_ACME)).json()
    assert (record["is_pec"], record["receipts"]) == (True, [])
    why = "5.1.1 - Gestore - indirizzo non valido"
    failure = PecMail(
        "errore-consegna", reached=(BOB,), error="no-dest", detail=why, own_id="<2@g>"
    )
    raws = await come(spool, PecMail("accettazione"), failure)
    record = (await acme.get("/messages/legal-1", params=OF_ACME)).json()
    listed = (await acme.get("/messages/legal-1/receipts", params=OF_ACME)).json()
    assert listed == {"ok": True, "receipts": record["receipts"]}
    shown: Json = record["receipts"][1]
    assert shown.pop("received_ts") > AT
    assert shown == {
        "n": 2,
        "receipt_type": "errore-consegna",
        "ts": int(AT),
        "account_id": "pec",
        "recipients": [BOB],
        "error": "no-dest",
        "detail": why,
        "provider": "Gestore PEC S.p.A.",
        "provider_id": "opec1.20241115@gestore.test",
        "size_bytes": len(raws[1]),
    }
    for number, raw in enumerate(raws, 1):
        for key in ("legal-1", record["pk"]):
            answer = await acme.get(f"/messages/{key}/receipts/{number}")
            assert answer.headers["content-type"] == "message/rfc822"
            assert answer.content == raw


async def test_what_is_no_receipt_is_not_found(
    acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    await come(spool, PecMail("accettazione"))
    for n in ("0", "2", "-1", "1.0", "¹", "9" * 30, "x"):
        answer = await acme.get(f"/messages/legal-1/receipts/{n}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "receipt not found"}), n
    for path in ("/messages/nobody/receipts", "/messages/nobody/receipts/1"):
        answer = await acme.get(path, params=OF_ACME)
        assert (answer.status_code, answer.json()) == (404, {"detail": "message not found"})


async def test_another_tenants_receipts_are_not_there(
    api: Api, acme: httpx.AsyncClient, rival: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    await come(spool, PecMail("accettazione"))
    pk = (await acme.get("/messages/legal-1", params=OF_ACME)).json()["pk"]
    for key in ("legal-1", pk):
        for path in (f"/messages/{key}/receipts", f"/messages/{key}/receipts/1"):
            assert (await rival.get(path, params={"tenant_id": "rival"})).status_code == 404
            assert (await rival.get(path, params=OF_ACME)).status_code == 401
            assert (await api.client(None).get(path, params=OF_ACME)).status_code == 401
            assert (await acme.get(path, params=OF_ACME)).status_code == 200


async def test_receipts_outlive_their_message(
    acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    [raw] = await come(spool, PecMail("accettazione"))
    order = {"ids": ["legal-1"]}
    await acme.post("/commands/delete-messages", params=OF_ACME, json=order)
    assert (await acme.get("/messages/legal-1", params=OF_ACME)).status_code == 404
    listed = (await acme.get("/messages/legal-1/receipts", params=OF_ACME)).json()
    assert [receipt["n"] for receipt in listed["receipts"]] == [1]
    assert (await acme.get("/messages/legal-1/receipts/1")).content == raw


async def test_deleting_a_tenant_names_the_receipts_that_go_with_it(
    admin: httpx.AsyncClient, acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    await come(spool, PecMail("accettazione"), PecMail("presa-in-carico", own_id="<2@g.test>"))
    asked = await admin.delete("/tenant/acme", params={"dry_run": "true"})
    assert asked.json()["destroyed"]["receipts"] == 2
    assert (await admin.delete("/tenant/acme", params={"force": "true"})).json()["ok"] is True
    await admin.post("/tenant", json={"id": "acme"})
    assert (await admin.get("/messages/legal-1/receipts", params=OF_ACME)).status_code == 404


async def test_events_tell_of_receipts_in_the_words_of_reports(
    acme: httpx.AsyncClient, spool: Spool, message: Message
) -> None:
    await certified(acme, message)
    await come(spool, PecMail("accettazione"))
    [told] = (await acme.get("/events", params=OF_ACME)).json()["events"]
    assert {name: told[name] for name in ("id", "pec_event", "pec_ts", "pec_details")} == {
        "id": "legal-1",
        "pec_event": "pec_acceptance",
        "pec_ts": int(AT),
        "pec_details": "accettazione",
    }
    assert (told["recipient"], told["receipt_type"], told["receipt"]) == (BOB, "accettazione", 1)
