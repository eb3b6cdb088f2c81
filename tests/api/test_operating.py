"""The routes of operators: settings, backup, drain, the command log, keys; and the local socket."""

import asyncio
import os
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from admin_api.app import build_app
from admin_api.local import address_of, is_operator
from admin_api.operation import Listening, Operation, ShownSetting
from admin_api.probes import Readiness
from admin_api.server import HttpServer
from admin_api.services import Services
from relay.crypto import digest
from relay.errors import SecretDamaged, StoreUnavailable
from relay.store.backup import copy_database
from tests.api.serving import ADMIN_TOKEN, Api, Message, close, serve

SETTING = ShownSetting("workers", "1", "default")


@pytest.fixture
async def local(services: Services, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the local socket, without a token."""
    operation = Operation(
        settings=[SETTING], listening=lambda: [Listening("http", "http://127.0.0.1:1")]
    )
    door = services.door
    services = replace(
        services,
        operation=operation,
        is_active=lambda: door.is_open,
        readiness=Readiness(services.database, door.check_open),
    )
    server = HttpServer(build_app(services), services.uncut)
    path = tmp_path / ("long" * 20) / "api.sock"
    path.parent.mkdir()
    await server.start_unix(path)
    with address_of(path) as address:
        transport = httpx.AsyncHTTPTransport(uds=address)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            yield client
    await server.stop(2)


async def test_who_may_open_the_local_socket_needs_no_token(local: httpx.AsyncClient) -> None:
    assert (await local.get("/tenants")).status_code == 200
    made = (await local.post("/tenant", json={"id": "acme"})).json()
    as_tenant = {"X-API-Token": made["api_key"]}
    assert (await local.get("/tenants", headers=as_tenant)).status_code == 403
    assert (await local.get("/tenants", headers={"X-API-Token": "wrong"})).status_code == 401


def test_a_connection_of_another_kind_is_no_operators() -> None:
    near, far = socket.socketpair()
    with near, far, socket.socket() as internet:
        assert is_operator(near)
        assert not is_operator(internet)
        assert not is_operator(None)


async def test_settings_and_addresses_are_told(local: httpx.AsyncClient) -> None:
    shown = (await local.get("/instance/settings")).json()["settings"]
    assert shown == [{"key": "workers", "value": "1", "origin": "default"}]
    facts = (await local.get("/status")).json()["facts"]
    assert facts["listening"] == [{"service": "http", "address": "http://127.0.0.1:1"}]
    assert facts["database"] in ("sqlite", "postgresql")


async def test_facts_are_for_the_admin_only(acme: httpx.AsyncClient) -> None:
    assert "facts" not in (await acme.get("/status")).json()


async def test_a_drained_node_refuses_mail_until_it_is_resumed(
    local: httpx.AsyncClient, message: Message
) -> None:
    await local.post("/tenant", json={"id": "acme"})
    await local.post("/account", json={"tenant_id": "acme", "id": "main", "kind": "capture"})
    assert (await local.post("/commands/drain")).json() == {"ok": True, "active": False}
    mail = {"messages": [message()]}
    refused = await local.post("/commands/add-messages", json=mail)
    assert (refused.status_code, refused.json()["detail"]) == (503, "this node takes no mail now")
    assert refused.headers["Retry-After"]
    ready = await local.get("/ready")
    assert (ready.status_code, ready.json()["detail"]) == (
        503,
        "being drained: no mail is taken",
    )
    assert (await local.get("/status")).json()["active"] is False
    assert (await local.post("/commands/resume")).json() == {"ok": True, "active": True}
    assert (await local.post("/commands/add-messages", json=mail)).json()["queued"] == 1


async def test_the_command_log_is_purged_and_says_so(api: Api, admin: httpx.AsyncClient) -> None:
    assert (await admin.delete("/command-log")).status_code == 422
    assert (await admin.delete("/command-log", params={"until": 1})).json()["removed"] == 0
    purged = await admin.delete("/command-log", params={"until": 2**53 - 1})
    assert purged.json()["removed"] > 3
    left = (await admin.get("/command-log")).json()["commands"]
    assert [(each["method"], each["route"]) for each in left] == [("DELETE", "/command-log")]


async def test_a_backup_is_the_database_as_it_was(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "source.db"
    with sqlite3.connect(file) as source:
        source.execute("PRAGMA journal_mode=WAL")
        source.execute("CREATE TABLE t (x)")
        source.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 3000)
        source.commit()
        operation = Operation(database_file=file)
        api = await serve(replace(services, operation=operation))
        answer = await api.client(ADMIN_TOKEN).get("/instance/backup")
        source.execute("DELETE FROM t")
    source.close()
    assert answer.status_code == 200
    copy = tmp_path / "copy.db"
    await asyncio.to_thread(copy.write_bytes, answer.content)
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (3000,)
    database.close()
    assert not list(tmp_path.glob("backup-*"))
    await close(api)


async def test_what_cannot_be_copied_is_no_backup(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "source.db"
    file.write_bytes(b"no database " * 1000)
    api = await serve(replace(services, operation=Operation(database_file=file)))
    answer = await api.client(ADMIN_TOKEN).get("/instance/backup")
    assert (answer.status_code, answer.json()) == (503, {"detail": "temporarily unavailable"})
    await close(api)


def test_a_copy_that_is_not_sound_is_no_backup(tmp_path: Path) -> None:
    file = tmp_path / "source.db"
    with sqlite3.connect(file) as source:
        source.execute("CREATE TABLE t (x)")
        source.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
        source.commit()
    source.close()
    content = file.read_bytes()
    file.write_bytes(content[:20_480] + b"\xff" * 4096 + content[24_576:])
    with pytest.raises(StoreUnavailable):
        copy_database(file, tmp_path / "copy.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_no_operator_even_where_the_socket_is_open() -> None:
    connect = "import socket, sys; s = socket.socket(1); s.connect(sys.argv[1]); s.recv(1)"
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o755)
        listener.bind(f"{folder}/api.sock")
        Path(folder, "api.sock").chmod(0o666)
        listener.listen()
        command = ["/usr/bin/env", "python3", "-c", connect, f"{folder}/api.sock"]
        other = subprocess.Popen(command, user="nobody", group="nogroup", cwd="/")
        connection, _ = listener.accept()
        with connection:
            assert not is_operator(connection)
            connection.send(b"x")
        assert other.wait(10) == 0


async def test_a_server_database_is_not_ours_to_copy(bare: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/instance/backup")
    assert (answer.status_code, "pg_dump" in answer.json()["detail"]) == (409, True)


async def test_keys_that_do_not_open_a_secret_are_a_conflict(services: Services) -> None:
    async def rekey(*, seals: bool) -> int:
        if seals:
            raise SecretDamaged("accounts/acme/main/password: sealed with another key")
        return 0

    api = await serve(replace(services, operation=Operation(rekey=rekey)))
    client = api.client(ADMIN_TOKEN)
    taken_up = await client.post("/commands/rekey", params={"only_take_up": True})
    assert taken_up.json() == {"ok": True, "sealed": 0}
    answer = await client.post("/commands/rekey")
    assert (answer.status_code, "another key" in answer.json()["detail"]) == (409, True)
    await close(api)


async def test_the_token_may_change_under_a_node(services: Services) -> None:
    token = ["first-token"]
    operation = Operation(admin_token_digest=lambda: digest(token[0]))
    api = await serve(replace(services, operation=operation))
    assert (await api.client("first-token").get("/tenants")).status_code == 200
    token[0] = "second-token"
    assert (await api.client("first-token").get("/tenants")).status_code == 401
    assert (await api.client("second-token").get("/tenants")).status_code == 200
    await close(api)
