"""Who calls: the operator with the admin token, or a tenant with its API key.

A tenant reaches itself only. Asking for another tenant by name is 401; what belongs to another
tenant looks the same as what does not exist. Tokens are looked up and compared as SHA-256, so no
comparison tells how near a guess was. The right token is always let in; of wrong ones only so many
come from one address before the answer is 429.
"""

import math
import re
from collections.abc import Mapping

from admin_api.problems import Problem, invalid, unauthorized
from admin_api.services import Services
from relay.crypto import digest, same
from relay.value import frozen

_TENANT_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN_MAX_CHARS = 1024
_KIND = "token"
# A client whose key has ended asks on with it: it is told so, and slowed only when it insists.
_FREE_TRIES = 10


@frozen
class Caller:
    """`tenant_id` is None for the admin token."""

    tenant_id: str | None

    @property
    def is_admin(self) -> bool:
        return self.tenant_id is None

    def check(self, tenant_id: str) -> None:
        """Raise 401 unless the caller may speak for this tenant."""
        if self.tenant_id not in (None, tenant_id):
            raise unauthorized("Token not authorized for this tenant")

    def tenant(self, asked: str | None, *, place: str) -> str:
        """Return the tenant that is meant: the one asked for, or else the key's own.

        `place` is where it could have been given, "query" or "body". Raises 401, or 422 when
        neither says.
        """
        if asked is not None:
            self.check(asked)
            return asked
        if self.tenant_id is None:
            raise invalid(place, "Field required", "tenant_id")
        return self.tenant_id

    def require_admin(self) -> None:
        if not self.is_admin:
            raise Problem(403, "Admin token required")


ADMIN = Caller(None)


def token(headers: Mapping[str, str]) -> str | None:
    """Return what was given in X-API-Token, else as a bearer token (RFC 6750 §2.1)."""
    given = headers.get("x-api-token")
    if given is not None:
        return given.strip()
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def admin_digest(services: Services) -> str:
    current = services.operation.admin_token_digest
    return services.settings.admin_token_digest if current is None else current()


async def identify(given: str | None, services: Services, peer_ip: str | None) -> Caller:
    """Return whose token it is. Raises 401, the same for a missing, a wrong and an expired token,
    and 429 for too many wrong ones.
    """
    if not given or len(given) > _TOKEN_MAX_CHARS:
        raise unauthorized()
    hashed = digest(given)
    if same(hashed, admin_digest(services)):
        return ADMIN
    if _TENANT_KEY.fullmatch(given):
        key = await services.directory.api_key(hashed)
        if key and (key.expires_at is None or key.expires_at > services.database.now()):
            return Caller(key.tenant_id)
    raise await rejection(given, services, peer_ip)


async def rejection(given: str, services: Services, peer_ip: str | None) -> Problem:
    """Count a wrong token and return what is said to it."""
    services.metrics.auth_failed()
    guess = services.guesses.of(peer_ip or "", _KIND, given, free_tries=_FREE_TRIES)
    wait_s = await services.guesses.rejected(guess)
    if not wait_s:
        return unauthorized()
    return Problem(429, "Too many wrong API tokens", {"Retry-After": str(math.ceil(wait_s))})
