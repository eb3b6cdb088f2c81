"""Who is logging in: user name and password against the credentials.

Promises: a password is never compared on the loop's time when that is slow, never kept, and never
told from a missing user. Secrets that we made (SHA-256) are compared at once. Passwords that people
chose (Argon2id) are hashed in a thread, two at a time; what was verified is known for a short while
by a keyed hash, so that a client that logs in for each mail pays once.

Every failure costs one Argon2id, whoever was named: an unknown user takes as long as a known one,
and so does a wrong secret of ours. These decoys wait in a line of their own, one at a time: a flood
of invented names delays itself, not the people who log in. After a failure the same user from the
same address waits (`relay.ingress.guesses`).
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from relay import maillog
from relay.crypto import DECOY_HASH, digest, same, verify_password
from relay.errors import TooManyGuesses
from relay.ingress.guesses import Guesses
from relay.ingress.networks import covering, tenants_of
from relay.model import Credential, SecretKind
from relay.store.directory import Directory

LONGEST_NAME = 255  # RFC 4616 §2
HASHES_AT_ONCE = 2
USER = "user"
# Word of a change may be lost, so rights are looked up now and then all the same.
LOOK_EVERY_S = 1.0

AsOf = tuple[int, int]


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`cache_s` 0 keeps nothing."""

    cache_s: float
    most_entries: int = 10_000


@dataclass(frozen=True, slots=True)
class Login:
    """A credential that proved itself, or whose networks speak for it; `account_id` is what
    followed the `+` in the user name.
    """

    credential: Credential
    account_id: str | None = None
    by_network: bool = False


@dataclass(slots=True)
class _Verified:
    """What was verified lately, as hashes under a key that only this process has ever had.

    The stored hash is part of it, so a changed password is no longer known.
    """

    settings: AuthSettings
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    until: dict[bytes, float] = field(default_factory=dict)

    def knows(self, credential: Credential, password: str, now: float) -> bool:
        return self.until.get(self._print(credential, password), 0.0) > now

    def remember(self, credential: Credential, password: str, now: float) -> None:
        print_ = self._print(credential, password)
        self.until.pop(print_, None)
        self.until[print_] = now + self.settings.cache_s
        if len(self.until) > self.settings.most_entries:
            del self.until[next(iter(self.until))]

    def _print(self, credential: Credential, password: str) -> bytes:
        # Neither a stored hash nor a user name has a NUL, so the parts cannot run into each other.
        text = f"{credential.secret_hash}\0{credential.username}\0{password}"
        return hmac.digest(self.key, text.encode("utf-8", "surrogatepass"), "sha256")


class Authenticator:
    def __init__(
        self,
        directory: Directory,
        guesses: Guesses,
        settings: AuthSettings,
        clock: Callable[[], float] = time.monotonic,
        verify: Callable[[str, str], bool] = verify_password,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._verify = verify
        self._guesses = guesses
        self._verified = _Verified(settings)
        self._hashes = asyncio.Semaphore(HASHES_AT_ONCE)
        self._decoys = asyncio.Semaphore(1)

    async def login(self, username: str, password: str, peer_ip: str) -> Login | None:
        """Return the login, None when it failed for whatever reason; it may take its time.

        Raises TooManyGuesses where too many wait before this one, and StoreUnavailable.
        """
        login = await self._find(username)
        if login is not None and self._is_known(login.credential, password):
            return login
        guess = self._guesses.of(peer_ip, USER, user_of(username))
        wait_s = await self._guesses.turn(guess)
        if wait_s is None:
            raise TooManyGuesses("too many failed logins from this address")
        if wait_s:
            await asyncio.sleep(wait_s)
        if login is None or login.credential.secret_kind is not SecretKind.ARGON2ID:
            await self._spend(password)
        elif await self._is_right(login.credential, password):
            await self._guesses.passed(guess)
            self._verified.remember(login.credential, password, self._clock())
            return login
        await self._guesses.failed(guess)
        return None

    async def current(self, login: Login) -> Login | None:
        """Return an earlier login with the rights that it has now, None when it has none left.

        Cheap: asked before each mail. Raises StoreUnavailable.
        """
        then = login.credential
        credential = await self._active(then.username)
        if credential is then:
            return login
        if credential is None or credential.tenant_id != then.tenant_id:
            return None
        if credential.secret_hash != then.secret_hash:
            return None
        return Login(credential, login.account_id)

    def as_of(self) -> AsOf:
        """Return what stays equal for as long as every login surely has the rights that it had."""
        return self._directory.changes, int(self._clock() / LOOK_EVERY_S)

    async def by_network(self, peer_ip: str) -> Login | None:
        """Return the login that this address needs no password for. Raises StoreUnavailable."""
        found = covering(await self._directory.admissions(), peer_ip)
        if not found:
            return None
        tenants = tenants_of(found)
        if len(tenants) > 1:
            maillog.disputed_network(peer_ip, ",".join(tenants))
            return None
        credential = await self._active(found[0].credential.username)
        return Login(credential, by_network=True) if credential else None

    async def networked(self) -> list[Credential]:
        """Return the logins that some addresses need no password for."""
        admissions = await self._directory.admissions()
        return list({one.credential.username: one.credential for one in admissions}.values())

    async def still_valid(self, login: Login) -> bool:
        return await self.current(login) is not None

    async def _find(self, username: str) -> Login | None:
        """Find whom a user name means: the whole of it, else `user` in `user+account`."""
        if not 0 < len(username) <= LONGEST_NAME or not username.isprintable():
            return None
        credential = await self._active(username)
        if credential is not None:
            return Login(credential)
        user, plus, account_id = username.rpartition("+")
        credential = await self._active(user) if plus and user and account_id else None
        return Login(credential, account_id) if credential else None

    async def _active(self, username: str) -> Credential | None:
        credential = await self._directory.credential(username)
        if credential is None or not credential.active:
            return None
        tenant = await self._directory.tenant(credential.tenant_id)
        return credential if tenant is not None and tenant.active else None

    def _is_known(self, credential: Credential, password: str) -> bool:
        if credential.secret_kind is SecretKind.SHA256:
            return same(digest(password), credential.secret_hash)
        return self._verified.knows(credential, password, self._clock())

    async def _is_right(self, credential: Credential, password: str) -> bool:
        async with self._hashes:
            return await asyncio.to_thread(self._verify, password, credential.secret_hash)

    async def _spend(self, password: str) -> None:
        """Take the time that a real user's password would."""
        async with self._decoys:
            await asyncio.to_thread(self._verify, password, DECOY_HASH)


def user_of(username: str) -> str:
    """Return whose password is tried. Who guesses at `bob` by `bob+1`, `bob+2` … is one guesser."""
    shortened = username[:LONGEST_NAME]
    return shortened.rpartition("+")[0] or shortened
