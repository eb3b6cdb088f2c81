"""Logins: who gets in, what it costs, and how long a guesser waits."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from relay.crypto import Keyring, digest, hash_password, verify_password
from relay.errors import TooManyGuesses
from relay.ingress.auth import USER, Authenticator, AuthSettings, Login, user_of
from relay.ingress.guesses import Guesses
from relay.model import Credential, SecretKind, Tenant
from relay.store.accounts import AccountStore
from relay.store.credentials import CredentialStore
from relay.store.directory import Directory
from relay.store.login_failures import Rules
from relay.store.migrate import migrate
from relay.store.sqlite import open_sqlite
from relay.store.tenants import TenantStore

SETTINGS = AuthSettings(cache_s=60)
NO_WAIT = Rules(first_wait_s=0, longest_wait_s=0, turn_s=0)
HASHED = hash_password("chosen")
ANN = Credential("ann", "acme", SecretKind.SHA256, digest("made"))
BOB = Credential("bob", "acme", SecretKind.ARGON2ID, HASHED)
IP = "192.0.2.1"


class Hashes:
    """The real hash, counted."""

    def __init__(self) -> None:
        self.count = 0
        self.running = 0
        self.most_running = 0

    def verify(self, password: str, stored: str) -> bool:
        self.count += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return verify_password(password, stored)
        finally:
            self.running -= 1


@dataclass
class House:
    tenants: TenantStore
    credentials: CredentialStore
    directory: Directory
    hashes: Hashes
    now: float = 1000.0

    def authenticator(
        self, settings: AuthSettings = SETTINGS, guesses: Guesses | None = None
    ) -> Authenticator:
        guesses = guesses or self.guesses(NO_WAIT)
        return Authenticator(
            self.directory, guesses, settings, lambda: self.now, self.hashes.verify
        )

    def guesses(self, rules: Rules) -> Guesses:
        return Guesses(rules, lambda: self.now)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = await open_sqlite(tmp_path / "pillarbox.db")
    await migrate(database)
    keyring = Keyring([secrets.token_bytes(32)])
    tenants, credentials = TenantStore(database, keyring), CredentialStore(database)
    accounts = AccountStore(database, keyring)
    directory = Directory(database, tenants, accounts, credentials, database.now)
    await tenants.save(Tenant("acme", "Acme"))
    await credentials.save(ANN)
    await credentials.save(BOB)
    yield House(tenants, credentials, directory, Hashes())
    await database.close()


async def test_a_secret_that_we_made_needs_no_slow_hash(house: House) -> None:
    login = await house.authenticator().login("ann", "made", IP)
    assert login is not None
    assert (login.credential.username, login.account_id) == ("ann", None)
    assert house.hashes.count == 0


async def test_a_chosen_password_is_hashed_once_while_it_is_remembered(house: House) -> None:
    authenticator = house.authenticator()
    for _ in range(3):
        assert await authenticator.login("bob", "chosen", IP)
    assert house.hashes.count == 1
    house.now += 61
    assert await authenticator.login("bob", "chosen", IP)
    assert house.hashes.count == 2


async def test_what_is_remembered_lets_in_nobody_with_another_password(house: House) -> None:
    authenticator = house.authenticator()
    assert await authenticator.login("bob", "chosen", IP)
    assert await authenticator.login("bob", "chosem", IP) is None


async def test_a_changed_password_is_not_remembered(house: House) -> None:
    authenticator = house.authenticator()
    assert await authenticator.login("bob", "chosen", IP)
    await house.credentials.save(replace(BOB, secret_hash=hash_password("other")))
    assert await authenticator.login("bob", "chosen", IP) is None
    assert await authenticator.login("bob", "other", IP)


async def test_no_cache_hashes_each_time(house: House) -> None:
    authenticator = house.authenticator(replace(SETTINGS, cache_s=0))
    assert await authenticator.login("bob", "chosen", IP)
    assert await authenticator.login("bob", "chosen", IP)
    assert house.hashes.count == 2


@pytest.mark.parametrize("username", ["ann", "bob", "nobody", "", "a\0b", "\udcff", "x" * 300])
async def test_each_failure_costs_one_hash_whoever_was_named(house: House, username: str) -> None:
    assert await house.authenticator().login(username, "wrong", IP) is None
    assert house.hashes.count == 1


async def test_at_most_two_passwords_are_hashed_at_once(house: House) -> None:
    authenticator = house.authenticator()
    await asyncio.gather(*(authenticator.login("bob", f"guess {n}", IP) for n in range(8)))
    assert house.hashes.most_running <= 2


async def test_a_user_name_may_carry_an_account(house: House) -> None:
    login = await house.authenticator().login("ann+main", "made", IP)
    assert login is not None
    assert (login.credential.username, login.account_id) == ("ann", "main")


async def test_a_user_whose_whole_name_fits_goes_first(house: House) -> None:
    await house.credentials.save(replace(ANN, username="ann+main", secret_hash=digest("else")))
    authenticator = house.authenticator()
    assert await authenticator.login("ann+main", "made", IP) is None
    login = await authenticator.login("ann+main", "else", IP)
    assert login is not None
    assert (login.credential.username, login.account_id) == ("ann+main", None)


async def test_an_inactive_credential_or_tenant_does_not_get_in(house: House) -> None:
    await house.credentials.save(replace(ANN, active=False))
    assert await house.authenticator().login("ann", "made", IP) is None
    await house.tenants.save(Tenant("acme", "Acme", active=False))
    assert await house.authenticator().login("bob", "chosen", IP) is None


async def test_a_login_holds_as_long_as_what_it_rests_on(house: House) -> None:
    authenticator = house.authenticator()
    login = await authenticator.login("ann", "made", IP)
    assert login is not None
    assert await authenticator.still_valid(login)
    await house.credentials.save(replace(ANN, secret_hash=digest("new")))
    assert not await authenticator.still_valid(login)
    await house.credentials.save(ANN)
    await house.tenants.save(Tenant("acme", "Acme", active=False))
    assert not await authenticator.still_valid(login)
    await house.tenants.save(Tenant("acme", "Acme"))
    await house.credentials.delete("acme", "ann")
    assert not await authenticator.still_valid(login)


async def test_rights_that_changed_count_in_an_open_session(house: House) -> None:
    authenticator = house.authenticator()
    login = await authenticator.login("ann+main", "made", IP)
    assert login is not None
    await house.credentials.save(replace(ANN, senders=("a@acme.test",)))
    renewed = await authenticator.current(login)
    assert isinstance(renewed, Login)
    assert renewed.credential.senders == ("a@acme.test",)
    assert renewed.account_id == "main"


async def test_who_stands_in_too_long_a_line_is_told_to_come_again(house: House) -> None:
    guesses = house.guesses(Rules(first_wait_s=5, longest_wait_s=5))
    authenticator = house.authenticator(guesses=guesses)
    assert await authenticator.login("bob", "wrong", IP) is None
    assert await guesses.turn(guesses.of(IP, USER, "bob")) == 5
    for username in ("bob", "bob+main"):
        with pytest.raises(TooManyGuesses):
            await authenticator.login(username, "chosen", IP)
    assert house.hashes.count == 1
    assert await authenticator.login("ann", "made", IP)
    assert await authenticator.login("bob", "chosen", "192.0.2.2")


@pytest.mark.parametrize(
    ("username", "user"),
    [
        ("ann", "ann"),
        ("ann+a", "ann"),
        ("a+b+c", "a+b"),
        ("+a", "+a"),
        ("", ""),
        ("x" * 300, "x" * 255),
    ],
)
def test_an_account_in_the_name_makes_no_other_guesser(username: str, user: str) -> None:
    assert user_of(username) == user
