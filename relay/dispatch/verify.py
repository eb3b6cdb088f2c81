"""Try an account without sending anything: connect, greet, secure, log in; what each step came to.

The connection is made for this alone and closed again: none of the pool's is used, and none is left
to it.
"""

import asyncio
from dataclasses import dataclass, replace

from relay.dispatch.pool import Pool, PoolSettings, effective_tls
from relay.errors import AccountFault
from relay.model import Account, AccountKind, TlsMode

LONGEST_STEP_S = 10.0
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Step:
    """`ok` is None where the step was not taken: it is not asked for, or an earlier one failed."""

    step: str
    ok: bool | None
    detail: str


class Verifier:
    def __init__(self, settings: PoolSettings) -> None:
        self._pool = Pool(
            replace(
                settings,
                connect_timeout_s=min(LONGEST_STEP_S, settings.connect_timeout_s),
                command_timeout_s=min(LONGEST_STEP_S, settings.command_timeout_s),
            )
        )
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def verify(self, account: Account) -> tuple[Step, ...]:
        """Return the steps in their order, up to the first that failed and what follows it."""
        if account.kind is AccountKind.CAPTURE:
            return (Step("connect", None, "a capture account delivers nowhere"),)
        async with self._turns:
            try:
                upstream = await self._pool.acquire(account)
            except AccountFault as fault:
                return failed(account, fault)
            session = upstream.session
            taken = said(account, session.tls_version, session.extensions.names)
            await session.quit()
            await self._pool.discard(upstream)
            return taken


def order(account: Account) -> tuple[str, ...]:
    """Name the steps as they follow each other (RFC 8314 §3, RFC 3207)."""
    if effective_tls(account) is TlsMode.IMPLICIT:
        return ("connect", "tls", "ehlo", "auth")
    return ("connect", "ehlo", "tls", "auth")


def failed(account: Account, fault: AccountFault) -> tuple[Step, ...]:
    names = order(account)
    at = names.index(fault.phase)
    done = [Step(name, True, "") for name in names[:at]]
    left = [Step(name, None, "not reached") for name in names[at + 1 :]]
    return (*done, Step(fault.phase, False, str(fault)), *left)


def said(
    account: Account, tls_version: str | None, extensions: tuple[str, ...]
) -> tuple[Step, ...]:
    """Return the steps of a connection that is ready for mail."""
    details = {
        "connect": f"{account.host}:{account.port}",
        "ehlo": " ".join(extensions) or "no extensions",
        "tls": tls_version,
        "auth": f"as {account.user}" if account.user else None,
    }
    missing = {"tls": "in clear", "auth": "the account has no login"}
    return tuple(
        Step(name, True, detail) if (detail := details[name]) else Step(name, None, missing[name])
        for name in order(account)
    )
