"""A relay with a canary wherever a secret can be, among peers that repeat what they hear."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.command import Cli
from tests.fakes import client as web
from tests.fakes.file_server import Ask, FileServer
from tests.fakes.file_server import Reply as File
from tests.fakes.imap import ECHO, FakeImap
from tests.fakes.script import Moment
from tests.fakes.upstream import FakeUpstream
from tests.process import ServeProcess
from tests.scenarios.canaries import Canary
from tests.scenarios.large_mail import BASE

Json = dict[str, Any]

NAMES = (
    "encryption key",
    "admin token",
    "metrics token",
    "database password",
    "chosen password",
    "account password",
    "mailbox password",
    "bounce mailbox password",
    "callback token",
    "callback password",
    "callback secret",
    "storage key",
    "session token",
    "file login",
    "file password",
    "signed url",
    "subject",
    "body",
    "attached file",
    "wrong token",
    "wrong password",
)


def plant(url: str) -> dict[str, Canary]:
    canaries = {name: Canary(name) for name in NAMES}
    if url.startswith("sqlite:"):
        del canaries["database password"]
    return canaries


def variables(url: str, canaries: Mapping[str, Canary]) -> dict[str, str]:
    if "database password" in canaries:
        password = canaries["database password"].text
        url = url.replace("postgres@", f"postgres:{password}@")
        assert password in url
    return {
        "PILLARBOX_DB": url,
        "PILLARBOX_ENCRYPTION_KEY": canaries["encryption key"].base64,
        "PILLARBOX_API_TOKEN": canaries["admin token"].text,
        "PILLARBOX_HTTP_METRICS_TOKEN": canaries["metrics token"].text,
        "PILLARBOX_LOG_LEVEL": "debug",
        "PILLARBOX_RETRY_WAITS_S": "1",
    }


@dataclass
class Scene:
    """`taking` takes mail from who logs in rightly, `echoing` repeats each login and refuses it; so
    do the other servers.
    """

    canaries: dict[str, Canary]
    serve: ServeProcess
    cli: Cli
    taking: FakeUpstream
    echoing: FakeUpstream
    imap: FakeImap
    client: web.FakeClient
    files: FileServer
    folder: Path

    def secret(self, name: str) -> str:
        return self.canaries[name].text


def repeated(moment: Moment) -> str:
    return f"535 5.7.8 not understood: AUTH {moment.argument}"


def called(call: web.Call) -> web.Reply:
    return web.Reply(500, f"{call.headers}\n".encode() + call.body)


def asked(ask: Ask) -> File:
    """Repeat the login, in few words since not much of an answer is logged."""
    login = [ask.headers.get(name, "") for name in ("x-amz-security-token", "authorization")]
    return File(" ".join(login).encode(), 404)


@asynccontextmanager
async def scene(url: str, folder: Path) -> AsyncIterator[Scene]:
    canaries = plant(url)
    environment = variables(url, canaries)
    users = {"relay": canaries["account password"].text}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        serve = ServeProcess(folder / "home", url, **environment)
        serve.client.headers["X-API-Token"] = canaries["admin token"].text
        yield Scene(
            canaries,
            await enter(serve),
            Cli(folder / "home", environment),
            await enter(FakeUpstream(users=users)),
            await enter(FakeUpstream(users=users, on={"AUTH": repeated})),
            await enter(FakeImap(on={"LOGIN": ECHO})),
            await enter(web.FakeClient(called)),
            await enter(FileServer(asked)),
            folder,
        )


def tenants(scene: Scene) -> list[Json]:
    """What the tenants are made of: `acme` has its large files here, `rival` in a cloud."""
    secret, port = scene.secret, scene.files.port
    storage = f"s3://key:{secret('storage key')}@bucket/folder?endpoint=http://127.0.0.1:{port}"
    here = {"enabled": True, "max_size_mb": 0.001, "action": "rewrite", "public_base_url": BASE}
    return [
        {
            "id": "acme",
            "client_base_url": scene.client.url,
            "client_auth": {"method": "bearer", "token": secret("callback token")},
            "callback_secret": f"whsec_{scene.canaries['callback secret'].base64}",
            "large_file_config": {**here, "storage_url": f"file://{scene.folder}/files"},
        },
        {
            "id": "rival",
            "client_base_url": scene.client.url,
            "client_auth": {
                "method": "basic",
                "user": "relay",
                "password": secret("callback password"),
            },
            "large_file_config": {
                **here,
                "storage_url": f"{storage}&session_token={secret('session token')}",
            },
        },
    ]


def accounts(scene: Scene) -> list[Json]:
    ours = {
        "tenant_id": "acme",
        "host": "127.0.0.1",
        "user": "relay",
        "password": scene.secret("account password"),
        "use_tls": False,
    }
    mailbox = {
        "imap_host": "127.0.0.1",
        "imap_port": scene.imap.port,
        "imap_user": "theirs",
        "imap_password": f'{scene.secret("mailbox password")}"\\',
        "imap_ssl": False,
    }
    return [
        {**ours, "id": "main", "port": scene.taking.port},
        {**ours, "id": "echo", "port": scene.echoing.port, **mailbox},
        {**ours, "id": "main", "port": scene.taking.port, "tenant_id": "rival"},
    ]


def bounce_mailbox(scene: Scene) -> Json:
    return {
        "bounce_enabled": True,
        "bounce_imap_host": "127.0.0.1",
        "bounce_imap_port": scene.imap.port,
        "bounce_imap_user": "bounces",
        "bounce_imap_password": scene.secret("bounce mailbox password"),
        "bounce_imap_ssl": False,
    }


def message(scene: Scene, id: str, **changes: object) -> Json:
    return {
        "id": id,
        "tenant_id": "acme",
        "account_id": "main",
        "from": "app@acme.test",
        "to": f"{id}@there.test",
        "subject": f"about {scene.secret('subject')}",
        "body": f"it is {scene.secret('body')}",
        **changes,
    }


def fetched(scene: Scene, id: str, **auth: str) -> Json:
    """A message with a file that its server does not give away."""
    place = f"{scene.files.url}/file?sig={scene.secret('signed url')}"
    file = {"filename": "a.pdf", "storage_path": place, "auth": auth}
    return message(scene, id, attachments=[file])
