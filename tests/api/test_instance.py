"""GET and PUT /instance."""

import httpx

from tests.api.serving import Api


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


async def test_the_instance_is_the_admins(acme: httpx.AsyncClient) -> None:
    assert (await acme.get("/instance")).status_code == 403
    assert (await acme.put("/instance", json={})).status_code == 403


async def test_what_is_not_understood_is_422(admin: httpx.AsyncClient) -> None:
    for body in ({"bounce_imap_port": 0}, {"bounce_poll_interval": 0}, {"name": ""}):
        assert (await admin.put("/instance", json=body)).status_code == 422
