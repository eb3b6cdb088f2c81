"""GET /command-log and /command-log/export."""

import io
import json
import re
import time
from pathlib import Path

import httpx

from relay.store.command_log import forget
from tests.api.serving import Api, Json, Message

ROOT = Path(__file__).parents[2]


async def logged(client: httpx.AsyncClient, **query: str | float) -> list[Json]:
    answer = await client.get("/command-log", params=query)
    assert answer.status_code == 200, answer.text
    commands: list[Json] = answer.json()["commands"]
    return commands


def named(commands: list[Json]) -> list[tuple[str, str]]:
    return [(c["method"], c["route"]) for c in commands]


async def test_who_did_what_is_logged_and_what_was_in_it_is_not(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient, message: Message
) -> None:
    began_at = time.time()
    await acme.post("/commands/add-messages", json={"messages": [message(subject="sesame")]})
    await admin.put("/tenant/acme", json={"callback_secret": "sesame"})
    answer = await admin.get("/command-log", params={"since": began_at - 1, "tenant_id": "acme"})
    added, changed = answer.json()["commands"][-2:]
    assert time.time() - 60 < added.pop("ts") <= time.time()
    assert len(added.pop("id")) == 36
    assert added == {
        "caller": "tenant",
        "tenant_id": "acme",
        "method": "POST",
        "route": "/commands/add-messages",
        "target": None,
        "status": 200,
    }
    assert (changed["caller"], changed["route"]) == ("admin", "/tenant/{id}")
    assert (changed["tenant_id"], changed["target"]) == ("acme", "acme")
    assert "sesame" not in answer.text
    assert api.keys["acme"] not in answer.text


async def test_what_the_admin_did_names_the_tenant_wherever_it_stood(
    api: Api, admin: httpx.AsyncClient
) -> None:
    await admin.post("/account", json={"tenant_id": "acme", "id": "a", "host": "h", "port": 25})
    await admin.post("/commands/suspend", params={"tenant_id": "acme"})
    await admin.post("/tenant", json={"id": "third"})
    commands = (await logged(admin))[-3:]
    assert [c["tenant_id"] for c in commands] == ["acme", "acme", "third"]


async def test_refusals_are_logged_and_reading_is_not(
    api: Api, admin: httpx.AsyncClient, acme: httpx.AsyncClient
) -> None:
    await acme.delete("/tenant/rival")
    await acme.post("/commands/suspend", params={"tenant_id": "rival"})
    await acme.post("/account", json={})
    await acme.get("/status")
    commands = (await logged(admin, caller="tenant"))[-3:]
    assert [c["status"] for c in commands] == [403, 401, 422]
    assert all(c["tenant_id"] == "acme" for c in commands)


async def test_a_path_that_is_not_fit_for_a_log_is_left_out(
    api: Api, admin: httpx.AsyncClient
) -> None:
    await admin.delete("/credential/a%00b", params={"tenant_id": "acme"})
    await admin.delete("/tenant/%0d%0a")
    assert [c["target"] for c in (await logged(admin))[-2:]] == [None, None]


async def test_the_log_is_filtered_and_given_in_pages(api: Api, admin: httpx.AsyncClient) -> None:
    for n in range(5):
        await admin.post("/tenant", json={"id": f"t{n}"})
    of_tenant = await logged(admin, tenant_id="t3")
    assert named(of_tenant) == [("POST", "/tenant")]
    assert len(await logged(admin, route="/tenant", method="POST")) == 7
    assert await logged(admin, until=1) == []
    query: dict[str, str] = {"route": "/tenant", "limit": "3"}
    found: list[Json] = []
    while True:
        page = (await admin.get("/command-log", params=query)).json()
        found += page["commands"]
        if "next_cursor" not in page:
            break
        query["cursor"] = page["next_cursor"]
    assert [c["tenant_id"] for c in found] == ["acme", "rival", "t0", "t1", "t2", "t3", "t4"]


async def test_the_log_is_exported_as_json_lines(api: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/command-log/export", params={"tenant_id": "acme"})
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == await logged(admin, tenant_id="acme")
    assert named(lines) == [("POST", "/tenant"), ("POST", "/account")]


async def test_the_log_is_the_admins(acme: httpx.AsyncClient) -> None:
    for path in ("/command-log", "/command-log/export"):
        assert (await acme.get(path)).status_code == 403


async def test_the_log_is_forgotten_in_time(api: Api, admin: httpx.AsyncClient) -> None:
    count = len(await logged(admin))
    now = api.services.database.now()
    await api.services.database.write(lambda: forget(now - 3600))
    assert len(await logged(admin)) == count
    await api.services.database.write(lambda: forget(now + 1))
    assert await logged(admin) == []


async def test_a_token_that_is_nobodys_is_in_the_log_of_the_node_without_itself(
    api: Api, acme: httpx.AsyncClient, log: io.StringIO
) -> None:
    wrong = "x" * 43
    for client in (api.client(wrong), api.client(None)):
        assert (await client.delete("/tenant/acme")).status_code == 401
    assert (await acme.get("/status")).status_code == 200
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["route"]) == ("token_refused", "DELETE /tenant/{id}")
    assert line["peer"] == "127.0.0.1"
    assert wrong not in log.getvalue()


async def test_who_has_the_log_removed_is_in_it_and_in_the_log_of_the_node(
    api: Api, admin: httpx.AsyncClient, log: io.StringIO
) -> None:
    count = len(await logged(admin))
    await admin.delete("/command-log", params={"until": time.time() + 60})
    assert named(await logged(admin)) == [("DELETE", "/command-log")]
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["commands"]) == ("commands_forgotten", count)


def test_nothing_changes_what_was_logged() -> None:
    statements = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+command_log\b", re.IGNORECASE)
    found = {
        (statement.upper(), path.name)
        for folder in ("relay", "admin_api", "cli")
        for path in (ROOT / folder).rglob("*.py")
        for statement in statements.findall(path.read_text())
    }
    assert found == {("INSERT INTO", "command_log.py"), ("DELETE FROM", "command_log.py")}
