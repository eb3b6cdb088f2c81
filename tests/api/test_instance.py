"""GET and PUT /instance."""

import httpx
import pytest

from relay.store.mailbox import INSTANCE
from relay.store.mailboxes import Conclusion
from relay.store.spool import Spool
from tests.api.serving import MAIN_ACCOUNT, Api


async def test_an_instance_has_the_name_of_its_settings_until_it_is_given_another(
    api: Api, admin: httpx.AsyncClient
) -> None:
    assert (await admin.get("/instance")).json() == {
        "ok": True,
        "name": "default",
        "bounce_enabled": False,
        "bounce_imap_host": None,
        "bounce_imap_port": 993,
        "bounce_imap_user": None,
        "bounce_imap_folder": "INBOX",
        "bounce_imap_ssl": True,
        "bounce_poll_interval": 60,
        "bounce_return_path": None,
        "bounce_status": None,
    }
    assert (await admin.put("/instance", json={"name": "Post office"})).json() == {"ok": True}
    assert (await admin.get("/instance")).json()["name"] == "Post office"
    await admin.put("/instance", json={"name": None})
    assert (await admin.get("/instance")).json()["name"] == "default"


async def test_put_changes_only_what_is_given_and_shows_no_secret(
    api: Api, admin: httpx.AsyncClient
) -> None:
    mailbox = {"bounce_imap_host": "imap.test", "bounce_imap_password": "sesame"}
    await admin.put("/instance", json={**mailbox, "bounce_enabled": True, "colour": 1})
    answer = await admin.put("/instance", json={"bounce_imap_port": 143, "bounce_imap_ssl": False})
    assert answer.json() == {"ok": True}
    shown = await admin.get("/instance")
    assert "sesame" not in shown.text
    body = shown.json()
    assert (body["bounce_imap_host"], body["bounce_imap_port"]) == ("imap.test", 143)
    assert (body["bounce_enabled"], body["bounce_imap_ssl"]) == (True, False)
    stored = await api.services.instance.read()
    assert stored.bounce.bounce_imap_password == "sesame"
    rows = await api.services.database.fetch("SELECT value FROM instance")
    assert not any("sesame" in row["value"] for row in rows)


async def test_it_is_told_how_reading_the_bounce_mailbox_goes(
    api: Api, admin: httpx.AsyncClient, spool: Spool
) -> None:
    settings = {"bounce_enabled": True, "bounce_imap_host": "imap.test"}
    await admin.put("/instance", json=settings)
    store, now = api.services.mailboxes, api.services.database.now()
    mailbox = await store.open(INSTANCE, 60)
    assert mailbox
    turn = await store.take(mailbox, spool.epoch)
    assert turn
    await store.conclude(turn, Conclusion(now + 60, 3, now, "LOGIN: NO"))
    assert (await admin.get("/instance")).json()["bounce_status"] == {
        "last_ok_ts": None,
        "failures": 3,
        "failing_since_ts": pytest.approx(now),
        "error": "LOGIN: NO",
        "next_look_ts": pytest.approx(now + 60),
    }
    [trouble] = (await admin.get("/status")).json()["mailboxes_in_trouble"]
    assert (trouble["account_id"], trouble["reason"]) == (None, "LOGIN: NO")
    assert (await admin.post("/instance/reload-bounce")).json() == {"ok": True}
    assert [seat.due_at for seat in await store.seats(spool.epoch)] == [0]


async def test_trouble_with_a_mailbox_is_told_to_whom_it_belongs(
    api: Api, acme: httpx.AsyncClient, rival: httpx.AsyncClient, spool: Spool
) -> None:
    await acme.post("/account", json={**MAIN_ACCOUNT, "imap_host": "imap.test"})
    store, now = api.services.mailboxes, api.services.database.now()
    mailbox = await store.open(("acme", "main"), 60)
    assert mailbox
    turn = await store.take(mailbox, spool.epoch)
    assert turn
    await store.conclude(turn, Conclusion(now + 60, 1, now, "connect: refused"))
    [trouble] = (await acme.get("/status")).json()["mailboxes_in_trouble"]
    assert (trouble["tenant_id"], trouble["account_id"]) == ("acme", "main")
    assert (await rival.get("/status")).json()["mailboxes_in_trouble"] == []


async def test_the_instance_is_the_admins(acme: httpx.AsyncClient) -> None:
    assert (await acme.get("/instance")).status_code == 403
    assert (await acme.put("/instance", json={})).status_code == 403
    assert (await acme.post("/instance/reload-bounce")).status_code == 403


async def test_what_is_not_understood_is_422(admin: httpx.AsyncClient) -> None:
    for body in ({"bounce_imap_port": 0}, {"bounce_poll_interval": 0}, {"name": ""}):
        assert (await admin.put("/instance", json=body)).status_code == 422
