"""One call of a client: POST, with its login and its signature, and what came back.

The home of httpcore. Promises: one total time-out, whatever trickles in; no redirect is followed;
no proxy, netrc or cookie of the environment is used; no more than the cap is read, and nothing is
unpacked; the address is judged when it is connected to (`guard`). Whatever goes wrong is an
`Answer` with a fault, never an exception.

Signed per Standard Webhooks 1.0 when the tenant has a secret; while it changes it has two, with a
space or comma between them, and both sign.
"""

import asyncio
import base64
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from urllib.parse import quote, urlsplit

import httpcore
import idna
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from relay.model import Tenant
from relay.reports.answer import Answer
from relay.reports.guard import Guard, Reach

DEFAULT_PATH = "/mail-proxy/sync"
# What a URL has besides letters and digits (RFC 3986 §2.2); "%" is taken as encoded already.
URL_MARKS = "/:?&=@!$'()*+,;~-._%[]"


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
        # A call that was given up leaves its look-up behind, for as long as that takes.
        self._guard = Guard(settings.reach, max_lookups=settings.max_connections * 2)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=settings.max_connections,
            # A connection that was kept may be closed by the other side just as we write: then
            # nobody knows whether the call arrived.
            max_keepalive_connections=0,
            network_backend=self._guard,
        )

    async def close(self) -> None:
        await self._pool.aclose()
        self._guard.close()

    async def post(self, tenant: Tenant, body: bytes, call_id: str, now: float) -> Answer:
        """Call a tenant with a report; `call_id` names it the same way when it is sent again."""
        try:
            url = target(tenant)
            headers = [*self._headers(url), *authorization(tenant)]
            if tenant.callback_secret:
                headers += signature(tenant.callback_secret, body, call_id, now)
        except UnusableTarget as error:
            return Answer(0, fault=str(error))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._exchange(url, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(0, fault="no answer in time")
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Answer(0, fault=f"{type(error).__name__}: {error}")

    async def _exchange(
        self, url: httpcore.URL, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer:
        async with self._pool.stream("POST", url, headers=headers, content=body) as response:
            given = {name.lower(): value for name, value in response.headers}
            retry_after = given.get(b"retry-after", b"").decode("latin-1").strip()
            answer = bytearray()
            async for chunk in response.aiter_stream():
                answer += chunk
                if len(answer) > self._settings.max_answer_bytes:
                    # Nothing of that size is an answer that we ask for.
                    return Answer(response.status, retry_after=retry_after)
            return Answer(response.status, bytes(answer), retry_after)

    def _headers(self, url: httpcore.URL) -> list[tuple[bytes, bytes]]:
        return [
            (b"Host", authority(url)),
            (b"User-Agent", self._settings.user_agent.encode()),
            (b"Content-Type", b"application/json"),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
        ]


def target(tenant: Tenant) -> httpcore.URL:
    """Return the URL to call, ready for the wire. Raises UnusableTarget."""
    base = (tenant.client_base_url or "").rstrip("/")
    path = tenant.client_sync_path or DEFAULT_PATH
    try:
        parts = urlsplit(f"{base}/{path.lstrip('/')}")
        host, port = ascii_host(parts.hostname or ""), parts.port
    except (ValueError, UnicodeError):
        raise UnusableTarget("client_base_url is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UnusableTarget("client_base_url is no URL with http:// or https://")
    query = f"?{quote(parts.query, safe=URL_MARKS)}" if parts.query else ""
    return httpcore.URL(
        scheme=parts.scheme.encode(),
        host=host.encode("ascii"),
        port=port,
        target=(quote(parts.path, safe=URL_MARKS) + query).encode("ascii"),
    )


def authority(url: httpcore.URL) -> bytes:
    """Return the value of Host (RFC 9110 §7.2)."""
    host = b"[%b]" % url.host if b":" in url.host else url.host
    return host if url.port is None else b"%b:%d" % (host, url.port)


def ascii_host(host: str) -> str:
    return host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")


def authorization(tenant: Tenant) -> list[tuple[bytes, bytes]]:
    """Return the login as a header (RFC 6750, RFC 7617)."""
    auth = tenant.client_auth or {}
    match auth.get("method", "none"):
        case "bearer":
            return [(b"Authorization", b"Bearer " + auth.get("token", "").encode())]
        case "basic":
            login = f"{auth.get('user', '')}:{auth.get('password', '')}".encode()
            return [(b"Authorization", b"Basic " + base64.b64encode(login))]
    return []


def signature(secrets: str, body: bytes, call_id: str, now: float) -> list[tuple[bytes, bytes]]:
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
