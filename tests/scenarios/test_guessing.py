"""Guessers at the SMTP doors and the APIs of two nodes: they wait, their victims do not."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cli.running import RunningNode
from relay.crypto import digest, hash_password, new_secret
from relay.model import Credential, SecretKind
from tests.scenarios.conftest import Relay, open_node
from tests.scenarios.raw_client import client

TOKEN = "the-admin-token-of-this-test"
SLOWED = "421 4.7.0 Too many failed logins from your address, try again later"
REFUSED = "535 5.7.8 Authentication credentials invalid"
LET_IN = "235 2.7.0 Authentication successful"
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"
MOST_NAMES = 3
WAIT_S = 1.0
LOGINS = (
    Credential("ann", "acme", SecretKind.SHA256, digest("secret")),
    Credential("bob", "acme", SecretKind.ARGON2ID, hash_password("secret")),
    Credential("eve", "acme", SecretKind.ARGON2ID, hash_password("secret")),
)
STRICT = {
    "http.listen": "127.0.0.1:0",
    "http.api_token": TOKEN,
    "smtp.proxy_networks": ["127.0.0.0/8"],
    "smtp.auth_cache_s": 0,
    "limits.auth_wait_s": [WAIT_S, WAIT_S],
    "limits.max_auth_names_per_ip": MOST_NAMES,
}


@dataclass(frozen=True)
class Doors:
    """What a node is spoken to by."""

    running: RunningNode

    async def login(self, user: str, password: str = "secret", ip: str = HERE) -> str:
        """Return the reply to AUTH, given as if from an address, by a PROXY header."""
        (_, _, port) = self.running.node.smtp.addresses[0]
        said = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        async with client(port) as raw:
            raw.writer.write(f"PROXY TCP4 {ip} 192.0.2.9 1234 25\r\n".encode())
            await raw.hear()
            await raw.say("EHLO client.test")
            reply = await raw.say(f"AUTH PLAIN {said}")
            if reply.startswith("421"):
                assert not await raw.hear()
            return reply

    async def status(self, token: str) -> int:
        url, headers = f"{self.running.http_url}/status", {"X-API-Token": token}
        async with httpx.AsyncClient(trust_env=False, verify=False) as asking:
            return (await asking.get(url, headers=headers)).status_code


@pytest.fixture
async def two(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[tuple[Doors, Doors]]:
    """The doors of two nodes on one database."""
    doors = []
    for name in ("one", "two"):
        node = await open_node(tmp_path / "home", postgres_dsn, name=name, **STRICT)
        doors.append(Doors(RunningNode(node)))
        await doors[-1].running.start()
    await Relay(doors[0].running.node).tenant("acme")
    for login in LOGINS:
        await doors[0].running.node.stores.credentials.save(login)
    yield doors[0], doors[1]
    for each in doors:
        await each.running.stop()


async def test_a_failure_at_one_node_is_a_wait_at_the_other_for_the_guesser_alone(
    two: tuple[Doors, Doors],
) -> None:
    one, other = two
    assert await one.login("bob", "wrong") == REFUSED
    began_at = time.monotonic()
    waiting = asyncio.create_task(other.login("bob"))
    assert await other.login("bob", ip=ELSEWHERE) == LET_IN
    assert await other.login("eve") == LET_IN
    assert not waiting.done()
    assert await waiting == LET_IN
    assert time.monotonic() - began_at >= WAIT_S * 0.8
    began_at = time.monotonic()
    assert await one.login("bob") == LET_IN
    assert time.monotonic() - began_at < WAIT_S


async def test_wrong_tokens_at_one_node_slow_their_address_at_the_smtp_door_of_the_other(
    two: tuple[Doors, Doors],
) -> None:
    one, other = two
    assert await other.login("eve") == LET_IN
    for _ in range(MOST_NAMES + 1):
        assert await one.status(new_secret()) == 401
    assert await other.status(new_secret()) == 429
    assert await other.login("bob") == SLOWED
    assert await other.login("nobody") == SLOWED
    # A secret of ours, who was let in before, another address, and the right token: no wait.
    assert await other.login("ann") == LET_IN
    assert await other.login("eve") == LET_IN
    assert await other.login("bob", ip=ELSEWHERE) == LET_IN
    assert await other.status(TOKEN) == 200


async def test_who_guesses_at_users_has_no_tries_left_for_tokens(two: tuple[Doors, Doors]) -> None:
    one, other = two
    for n in range(MOST_NAMES + 1):
        assert await one.login(f"user {n}", "wrong") == REFUSED
    assert await other.status(new_secret()) == 429
    assert await other.status(TOKEN) == 200
