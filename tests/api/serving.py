"""The REST API of one node, served over a real socket, without a dispatcher: mail stays queued."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import httpx

from admin_api.app import build_app
from admin_api.server import HttpServer
from admin_api.services import AccountTrouble, ApiSettings, Services
from relay.crypto import digest

ADMIN_TOKEN = "admin-token-of-the-tests"
MAX_MESSAGE_BYTES = 200_000
MAIN_ACCOUNT = {"id": "main", "host": "up.test", "port": 25}

SETTINGS = ApiSettings(
    admin_token_digest=digest(ADMIN_TOKEN),
    host_name="relay.test",
    max_body_bytes=400_000,
    max_message_bytes=MAX_MESSAGE_BYTES,
)


@dataclass
class Api:
    """A served API. `admin`, `acme` and `rival` are clients with the token of that name, `nobody`
    has none.
    """

    services: Services
    server: HttpServer
    url: str
    woken: list[str | None]
    troubles: list[AccountTrouble]
    keys: dict[str, str] = field(default_factory=dict)
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, token: str | None) -> httpx.AsyncClient:
        headers = {} if token is None else {"X-API-Token": token}
        # Without `verify` each client would read all certificates of this machine.
        client = httpx.AsyncClient(
            base_url=self.url, headers=headers, trust_env=False, timeout=20, verify=False
        )
        self.clients.append(client)
        return client


async def serve(services: Services) -> Api:
    woken: list[str | None] = []
    troubles: list[AccountTrouble] = []
    services = replace(services, wake=woken.append, accounts_in_trouble=lambda: troubles)
    server = HttpServer(build_app(services), services.uncut)
    await server.start("127.0.0.1", 0)
    host, port = server.address
    return Api(services, server, f"http://{host}:{port}", woken, troubles)


async def open_tenant(api: Api, tenant_id: str) -> httpx.AsyncClient:
    """Make a tenant and return a client with its key."""
    made = await api.client(ADMIN_TOKEN).post(
        "/tenant", json={"id": tenant_id, "name": tenant_id.title()}
    )
    api.keys[tenant_id] = made.json()["api_key"]
    return api.client(api.keys[tenant_id])


async def close(api: Api) -> None:
    for client in api.clients:
        await client.aclose()
    await api.server.stop(2)


Json = dict[str, Any]


class Message(Protocol):
    def __call__(self, **changes: Any) -> Json: ...
