"""Postfix's own load generator as a flood: refused where it has no right, else taken whole."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.attackers import MEGABYTE
from tests.scenarios.siege import besieged

pytestmark = pytest.mark.peers("smtp-source")

MAILS = 500
SESSIONS = 20


async def smtp_source(port: int, *options: str) -> tuple[int | None, str]:
    command = ["smtp-source", "-s", str(SESSIONS), "-m", str(MAILS), "-l", "2048", *options]
    command += ["-f", "a@acme.test", "-t", "x@there.test", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_flood_without_a_login_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    async with besieged(tmp_path) as siege:
        before = await siege.accepted()
        _, said = await smtp_source(siege.victim.port)
        assert "530 5.7.0" in said
        await smtp_source(siege.victim.port, "-A")
        query = {"tenant_id": "acme", "recipient": "x@there.test"}
        answer = await siege.serve.client.get("/messages", params=query)
        assert answer.json()["messages"] == []
        assert await siege.accepted() - before < MAILS


async def test_a_flood_from_a_network_that_may_send_is_taken_whole(tmp_path: Path) -> None:
    # Each mail waits in memory for its turn to be sent, with what the store knows of it.
    async with besieged(tmp_path, budget_bytes=40 * MEGABYTE) as siege:
        login = {"tenant_id": "acme", "username": "scanner", "networks": ["127.0.0.1/32"]}
        await siege.serve.post("/credential", login)
        before = await siege.accepted()
        code, said = await smtp_source(siege.victim.port)
        assert (code, said) == (0, "")
        assert await siege.accepted() - before >= MAILS
