"""Mail with large files, and what a tenant may want done with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path

from admin_api.app import build_app
from admin_api.operation import Operation
from admin_api.server import HttpServer
from admin_api.uncut import Uncut
from cli.running import services
from relay.formats.parts import read_tree
from tests.scenarios.conftest import Relay

BIG, SMALL = b"%PDF-1.7 big\n" * 5000, b"%PDF-1.7 small\n" * 50
BASE = "https://mail.acme.test"


def config(folder: Path, **changes: object) -> dict[str, object]:
    return {
        "enabled": True,
        "max_size_mb": 0.02,
        "storage_url": f"file://{folder}",
        "public_base_url": BASE,
        "action": "rewrite",
        **changes,
    }


def mail_with(*files: tuple[str, bytes]) -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = "a@acme.test", "b@there.test", "files"
    message.set_content("Hello, here they are.\n")
    message.add_alternative("<html><body><p>Hello</p></body></html>", subtype="html")
    for name, data in files:
        message.add_attachment(data, "application", "pdf", filename=name)
    return message.as_bytes()


def signed(content: bytes) -> bytes:
    head, _, _ = content.partition(b"Content-Type:")
    kind = b'Content-Type: multipart/signed; boundary="s"; protocol="application/pgp-signature"'
    inner = content[len(head) :]
    end = b"\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    return head + kind + b"\r\n\r\n--s\r\n" + inner + end


def untouched(content: bytes) -> list[bytes]:
    return [content[x.start : x.end] for x in read_tree(content).leaves if not x.is_text]


@asynccontextmanager
async def served(relay: Relay) -> AsyncIterator[str]:
    """Serve the REST API of a relay; gives its URL."""
    uncut = Uncut()
    server = HttpServer(build_app(services(relay.node, uncut, Operation())), uncut)
    await server.start("127.0.0.1", 0)
    host, port = server.address
    yield f"http://{host}:{port}"
    await server.stop(2)
