"""No secret comes out: not in a log, an answer, a metric, a report, an export or a command.

A canary is planted wherever a secret can be, and wherever words of a mail are. Much goes well and
much goes wrong, among peers that repeat what they were told; then all that came out is searched.
"""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from admin_api.app import ROUTES
from admin_api.routes import Route
from tests.cli.command import Cli
from tests.conftest import open_database
from tests.scenarios.canaries import Canary, Outputs
from tests.scenarios.planted import (
    Json,
    Scene,
    accounts,
    bounce_mailbox,
    fetched,
    message,
    scene,
    tenants,
)
from tests.scenarios.raw_client import client as raw_client
from tests.waiting import until

# What a mail says and links to is shown to whom it belongs; the log, the metrics, the reports and
# the answers to anything else never show it.
STORED = r"database|GET /instance/backup"
CONTENT = rf"^(GET /messages/\{{id\}}/content|{STORED})"
SHOWN_AT = {
    "subject": rf"^(GET /messages|cli: default acme messages|{STORED})",
    "body": CONTENT,
    "attached file": rf"{CONTENT}|^GET /download",
    "link": rf"^(GET /messages|cli: default acme messages|{STORED})",
    # Where a file is waits with the mail, as the mail's own words do.
    "signed url": rf"^({STORED})",
    "admin token": r"^cli: default token$",
}
GET_ROUTES = [route for route in ROUTES if route.method == "GET"]
TROUBLE, CANNOT_NOW = 1, 75
COMMANDS = (
    "default info",
    "default stats",
    "default check",
    "default token",
    "default config show",
    "default config show --json",
    "default tenants list",
    "default tenants show acme",
    "default tenants show rival --json",
    "default command-log list",
    "default command-log export",
    "default acme info",
    "default acme accounts list",
    "default acme accounts show echo",
    "default acme accounts verify echo",
    "default acme credentials list",
    "default acme messages list",
    "default acme messages show echoed",
    "default acme messages show login",
    "default acme messages export",
    "default acme events",
    "default acme suppressions list",
)


async def test_no_secret_comes_out_anywhere(database_url: str, tmp_path: Path) -> None:
    outputs = Outputs()
    async with scene(database_url, tmp_path) as stage:
        await furnish(stage)
        await send(stage, outputs)
        await say_wrong_things(stage, outputs)
        await happened(stage)
        await ask_for_everything(stage, outputs)
        await ask_with_mistakes(stage, outputs)
        await run_commands(stage, outputs)
        assert await stage.serve.terminate() == 0
        for call in stage.client.calls:
            outputs.add("report", call.body)
        outputs.add("log", stage.serve.log())
        await dump(database_url, outputs)
        assert outputs.leaks(stage.canaries, SHOWN_AT) == []
        assert_that_much_was_seen(stage, outputs)


async def furnish(stage: Scene) -> None:
    """Make tenants, accounts and logins; what is shown once when it is made is secret from then."""
    for tenant in tenants(stage):
        made = await stage.serve.post("/tenant", tenant)
        keep(stage, f"key of {tenant['id']}", made["api_key"])
    for account in accounts(stage):
        await stage.serve.post("/account", account)
    chosen = {"username": "app", "password": stage.secret("chosen password")}
    await stage.serve.post("/credential", {"tenant_id": "acme", **chosen})
    made = await stage.serve.post("/credential", {"tenant_id": "acme", "username": "made"})
    keep(stage, "made password", made["password"])
    answer = await stage.serve.client.put("/instance", json=bounce_mailbox(stage))
    assert answer.status_code == 200, answer.text


def keep(stage: Scene, name: str, secret: object) -> None:
    stage.canaries[name] = Canary(name, str(secret))


async def send(stage: Scene, outputs: Outputs) -> None:
    """Have mail delivered, refused, and made to wait by files and storages that do not work."""
    words = f"{stage.secret('attached file')} " * 100
    file = {
        "filename": "big.pdf",
        "storage_path": f"base64:{base64.b64encode(words.encode()).decode()}",
    }
    bearer = {"method": "bearer", "token": stage.secret("file login")}
    basic = {"method": "basic", "user": "us", "password": stage.secret("file password")}
    added = await stage.serve.post(
        "/commands/add-messages",
        {
            "messages": [
                message(stage, "sent", attachments=[file]),
                message(stage, "echoed", account_id="echo"),
                fetched(stage, "login", **bearer),
                fetched(stage, "password", **basic),
                message(stage, "cloud", tenant_id="rival", attachments=[file]),
            ]
        },
    )
    outputs.add("POST /commands/add-messages", json.dumps(added))
    await stage.serve.client.post("/commands/run-now")
    (mail,) = await stage.taking.wait_for(1, 20)
    link = re.search(rb"/download/([\w.~-]+)", mail.content)
    assert link, mail.content
    keep(stage, "link", link[1].decode())


async def say_wrong_things(stage: Scene, outputs: Outputs) -> None:
    """Say passwords where they are wrong, or are no passwords at all."""
    wrong = stage.secret("wrong password")
    pairs = (f"\0app\0{wrong}", f"\0made\0{wrong}")
    lines = [f"AUTH PLAIN {base64.b64encode(pair.encode()).decode()}" for pair in pairs]
    lines += [f"{verb}{wrong}" for verb in ("AUTH PLAIN ", "AUTH ", "", "MAIL FROM:<", "NOOP ")]
    for line in lines:
        async with raw_client(stage.serve.smtp_port) as client:
            await client.hear()
            await client.say("EHLO client.test")
            outputs.add("smtp", await client.say(line))
    for token in (stage.secret("wrong token"), stage.canaries["wrong token"].base64):
        answer = await stage.serve.client.get("/accounts", headers={"X-API-Token": token})
        assert answer.status_code == 401
        outputs.add("wrong token", f"{answer.headers} {answer.text}")


async def happened(stage: Scene) -> None:
    """Wait until what was to go wrong went wrong."""

    async def is_told() -> bool:
        told = (await stage.serve.client.get("/status")).json()
        troubled = {each["account_id"] for each in told["accounts_in_trouble"]}
        mailboxes = told["mailboxes_in_trouble"]
        failed = [await state(stage, id) == "failed" for id in ("login", "password")]
        called = {auth_of(call.headers) for call in stage.client.calls}
        return (
            "echo" in troubled
            and len(mailboxes) == 2
            and all(failed)
            and called == {"Bearer", "Basic"}
            and await state(stage, "cloud", "rival") == "deferred"
        )

    await until(is_told, timeout_s=30, every_s=0.1)


def auth_of(headers: dict[str, str]) -> str:
    given = {name.lower(): value for name, value in headers.items()}["authorization"]
    return given.partition(" ")[0]


async def state(stage: Scene, id: str, tenant_id: str = "acme") -> str:
    answer = await stage.serve.client.get(f"/messages/{id}", params={"tenant_id": tenant_id})
    return str(answer.json()["status"])


async def ask_for_everything(stage: Scene, outputs: Outputs) -> None:
    """Ask each route with each kind of token."""
    acme = stage.secret("key of acme")
    for token in (stage.secret("admin token"), acme, stage.secret("wrong token"), ""):
        for route in GET_ROUTES:
            for path in paths(stage, route):
                query = {"tenant_id": "acme"} if token != acme else {}
                query |= {"include_history": "true"} if route.path == "/messages" else {}
                answer = await stage.serve.client.get(
                    path, params=query, headers={"X-API-Token": token}
                )
                assert answer.status_code < 500, (path, answer.text)
                outputs.add(f"GET {route.path}", f"{answer.headers}\n")
                outputs.add(f"GET {route.path}", answer.content)
    metrics = {"Authorization": f"Bearer {stage.secret('metrics token')}"}
    bare = {"X-API-Token": ""}
    del stage.serve.client.headers["X-API-Token"]
    answer = await stage.serve.client.get("/metrics", headers=metrics)
    stage.serve.client.headers["X-API-Token"] = stage.secret("admin token")
    assert answer.status_code == 200, bare
    outputs.add("GET /metrics", answer.text)
    for path in ("/openapi.json", "/docs"):
        outputs.add(f"GET {path}", (await stage.serve.client.get(path)).text)


def paths(stage: Scene, route: Route) -> list[str]:
    """Return a route's paths to all that there is."""
    ids = {"/tenant": ["acme", "rival"], "/messages": ["sent", "echoed", "login", "password"]}
    named = ids.get(route.path.partition("/{")[0], ["acme"])
    ticket = stage.secret("link")
    filled = route.path.replace("{n}", "1")
    made = [filled.replace("{id}", id).replace("{ticket}", ticket) for id in named]
    return [*made, filled.replace("{ticket}", f"{ticket}x")] if "{ticket}" in filled else made


async def ask_with_mistakes(stage: Scene, outputs: Outputs) -> None:
    """Send each body again and again, each time with one of its texts in a shape that is wrong."""
    bearer = {"method": "bearer", "token": stage.secret("file login")}
    given: list[tuple[str, str, Json]] = [
        ("PUT", "/tenant/acme", without(tenants(stage)[0], "id")),
        ("PUT", "/tenant/rival", without(tenants(stage)[1], "id")),
        ("POST", "/account", accounts(stage)[1]),
        ("POST", "/credential", {"username": "app", "password": stage.secret("chosen password")}),
        ("PUT", "/instance", bounce_mailbox(stage)),
        ("POST", "/commands/add-messages", {"messages": [fetched(stage, "again", **bearer)]}),
    ]
    refused = 0
    for method, path, body in given:
        texts = [json.dumps(changed) for changed in broken(body)]
        for text in [*texts, json.dumps(body)[:-1], json.dumps({**body, "port": body})]:
            answer = await stage.serve.client.request(method, path, content=text)
            assert answer.status_code < 500, (path, answer.text)
            refused += answer.status_code >= 400
            outputs.add(f"{method} {path}", answer.text)
    assert refused > 100


def without(body: Json, name: str) -> Json:
    return {key: value for key, value in body.items() if key != name}


def broken(value: Any) -> Iterator[Any]:
    """Give the value with one text in it changed, for each of them and each way to be wrong."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: changed} for changed in broken(inner))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from ([*value[:n], changed, *value[n + 1 :]] for changed in broken(inner))
    elif isinstance(value, str):
        yield from ([value], {"a": value}, {value: 1}, f"{value}\0", f"{value}\r\n", value * 1000)


async def run_commands(stage: Scene, outputs: Outputs) -> None:
    for command in COMMANDS:
        shown = await asyncio.to_thread(stage.cli, *command.split())
        assert shown.code in (0, TROUBLE, CANNOT_NOW), (command, shown)
        outputs.add(f"cli: {command}", shown.out + shown.err)


async def dump(url: str, outputs: Outputs) -> None:
    """Read all that is stored, as whoever has the database but not the key would."""
    database = await open_database(url)
    names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    if not url.startswith("sqlite:"):
        names = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    for table in [row["name"] for row in await database.fetch(names)]:
        for row in await database.fetch(f"SELECT * FROM {table}"):
            for cell in (row[n] for n in range(len(row))):  # type: ignore[arg-type]
                outputs.add(f"database: {table}", cell if isinstance(cell, bytes) else str(cell))
    await database.close()


def assert_that_much_was_seen(stage: Scene, outputs: Outputs) -> None:
    """Make sure that it was searched where it might have been."""
    log = dict(outputs.texts)["log"]
    for event in ("attempt", "account_rests", "mailbox_failed", "attachment_failed", "auth_failed"):
        assert f'"event":"{event}"' in log, event
    for event in ("report_failed", "storage_trouble"):
        assert f'"event":"{event}"' in log, event
    told = " ".join(text for place, text in outputs.texts if place.startswith("GET /status"))
    assert "not understood" in told
    assert "***" in told
    for name in ("database: accounts", "database: command_log", "cli: ", "GET /metrics", "report"):
        assert outputs.places(name), name
    for name in SHOWN_AT:
        assert outputs.leaks({name: stage.canaries[name]}, {}), f"nobody ever saw the {name}"


def unfit(secret: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Give settings that no node starts with, each with a secret: variables, and a file."""
    ways = ("@127.0.0.1:1/x", "@127.0.0.1:none/x", "@[::1/x", "@127.0.0.1:1/x?sslmode=never")
    for n, way in enumerate(ways):
        yield f"database {n}", {"PILLARBOX_DB": f"postgresql://me:{secret}{way}"}, ""
    yield "no database", {"PILLARBOX_DB": f"mysql://me:{secret}@host/x"}, ""
    yield "key", {"PILLARBOX_ENCRYPTION_KEY": secret}, ""
    yield "token", {"PILLARBOX_API_TOKEN": f"{secret}\n{secret}"}, ""
    yield "token and its file", {"PILLARBOX_API_TOKEN": secret}, ""
    yield "unknown key", {}, f'[http]\napi_tokens = "{secret}"\n'
    yield "wrong type", {}, f'[http]\napi_token = ["{secret}"]\n'
    yield "no toml", {}, f'[http]\napi_token = "{secret}\n'
    yield "no key", {}, f'encryption_key = "{secret}"\n'


SECRET = Canary("setting")


@pytest.mark.parametrize(
    ("environment", "file"),
    [pytest.param(environment, file, id=name) for name, environment, file in unfit(SECRET.text)],
)
def test_what_keeps_a_node_from_starting_is_told_without_its_secret(
    tmp_path: Path, environment: dict[str, str], file: str
) -> None:
    folder = tmp_path / "home" / "default"
    folder.mkdir(mode=0o700, parents=True)
    (folder / "pillarbox.toml").write_text(file)
    if SECRET.text == environment.get("PILLARBOX_API_TOKEN"):
        environment = {**environment, "PILLARBOX_API_TOKEN_FILE": str(folder / "pillarbox.toml")}
    cli, outputs = Cli(tmp_path / "home", environment), Outputs()
    for command in ("serve", "default check", "default config show", "default info"):
        shown = cli(*command.split())
        assert shown.code or command != "serve", shown
        outputs.add(command, shown.out + shown.err)
    assert outputs.leaks({SECRET.name: SECRET}, {}) == []
