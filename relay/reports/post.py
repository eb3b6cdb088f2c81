"""One call of a client: POST, with its login and its signature, and what came back.

Promises: one total time-out, whatever trickles in; no more than the cap is read; what `net.http`
promises. Whatever goes wrong is an `Answer` with a fault, never an exception.

Signed per Standard Webhooks 1.0 when the tenant has a secret; while it changes it has two, with a
space or comma between them, and both sign.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from relay.model import Tenant
from relay.net.call import CallFailed, CallRefused, Header, Request, authorization
from relay.net.http import HttpClient
from relay.net.reach import Reach
from relay.net.url import UnusableUrlError, Url, beneath
from relay.reports.answer import Answer

DEFAULT_PATH = "/mail-proxy/sync"
JSON = ((b"Content-Type", b"application/json"), (b"Accept", b"application/json"))


@dataclass(frozen=True, slots=True)
class CallSettings:
    reach: Reach
    timeout_s: float
    max_answer_bytes: int
    max_connections: int
    user_agent: str = "Pillarbox"


class UnusableTarget(ValueError):
    """The URL, the login or the secret of a tenant cannot be used; the text says which."""


class Caller:
    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self._client = HttpClient(
            settings.reach,
            max_connections=settings.max_connections,
            user_agent=settings.user_agent,
        )

    async def close(self) -> None:
        await self._client.close()

    async def post(self, tenant: Tenant, body: bytes, call_id: str, now: float) -> Answer:
        """Call a tenant with a report; `call_id` names it the same way when it is sent again."""
        try:
            if tenant.damaged:
                names = ", ".join(tenant.damaged)
                raise UnusableTarget(f"{names} cannot be read: to be set again")
            headers = [*JSON, *authorization(tenant.client_auth)]
            if tenant.callback_secret:
                headers += signature(tenant.callback_secret, body, call_id, now)
            request = Request("POST", target(tenant), headers, body)
        except UnusableTarget as error:
            return Answer(0, fault=str(error))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._exchange(request)
        except TimeoutError:
            return Answer(0, fault="no answer in time")
        except (CallFailed, CallRefused) as error:
            return Answer(0, fault=str(error))

    async def _exchange(self, request: Request) -> Answer:
        async with self._client.call(request) as response:
            retry_after = response.headers.get(b"retry-after", b"").decode("latin-1").strip()
            answer = bytearray()
            async for chunk in response.chunks:
                answer += chunk
                if len(answer) > self._settings.max_answer_bytes:
                    # Nothing of that size is an answer that we ask for.
                    return Answer(response.status, retry_after=retry_after)
            return Answer(response.status, bytes(answer), retry_after)


def target(tenant: Tenant) -> Url:
    """Return the URL to call. Raises UnusableTarget."""
    try:
        return beneath(tenant.client_base_url or "", tenant.client_sync_path or DEFAULT_PATH)
    except UnusableUrlError as error:
        raise UnusableTarget(f"client_base_url {error}") from None


def signature(secrets: str, body: bytes, call_id: str, now: float) -> list[Header]:
    """Sign with every live secret. Raises UnusableTarget."""
    at = datetime.fromtimestamp(int(now), UTC)
    try:
        signers = [Webhook(secret) for secret in secrets.replace(",", " ").split()]
    except (ValueError, EmptyWebhookSecretError):
        raise UnusableTarget("callback_secret is not base64") from None
    signed = " ".join(signer.sign(call_id, at, body.decode("ascii")) for signer in signers)
    return [
        (b"webhook-id", call_id.encode()),
        (b"webhook-timestamp", str(int(now)).encode()),
        (b"webhook-signature", signed.encode()),
    ]


def call_id(tenant_id: str, event_ids: list[str], now: float) -> str:
    """Name a call: the same events have the same name, an empty list is named by its time."""
    content = " ".join(event_ids) or repr(now)
    digest = blake2b(f"{tenant_id} {content}".encode(), digest_size=16)
    return f"rep_{digest.hexdigest()}"
