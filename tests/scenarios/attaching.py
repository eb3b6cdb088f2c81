"""Mail with files, posted as add-messages takes it, and read as an upstream got it."""

import base64
from email import message_from_bytes, policy
from email.message import EmailMessage

from admin_api.drafts import Desk, submission_of
from relay.ingress.submission import Origin
from relay.store.attachments import AttachmentView
from relay.store.queue.arrival import Accepted
from tests.fakes.upstream import Received

from .conftest import Relay

File = dict[str, object]

# Enough for a file in a test, little enough to wait for.
IMPATIENT = {
    "attachments.timeout_s": 1.0,
    "attachments.min_rate_bytes_s": 1000,
    "attachments.min_rate_grace_s": 0.2,
}


def given(data: bytes, filename: str = "given.bin") -> File:
    return {"filename": filename, "storage_path": "base64:" + base64.b64encode(data).decode()}


def at(storage_path: str, filename: str = "fetched.bin", **more: object) -> File:
    return {"filename": filename, "storage_path": storage_path, **more}


async def post(
    relay: Relay, *files: File, tenant_id: str = "acme", id: str = "m1", **more: object
) -> Accepted:
    item = {
        "id": id,
        "tenant_id": tenant_id,
        "account_id": "main",
        "from": f"app@{tenant_id}.test",
        "to": "bob@there.test",
        "subject": "files",
        "text": "see the files",
        "attachments": list(files),
        **more,
    }
    desk = Desk("relay.test", 100, relay.node.spool.now(), Origin("HTTP", ip="127.0.0.1"))
    return await relay.node.door.accept(submission_of(item, desk))


async def views(relay: Relay, accepted: Accepted) -> list[AttachmentView]:
    return await relay.node.stores.attachments.views(accepted.pk)


def parsed(mail: Received) -> EmailMessage:
    message = message_from_bytes(mail.content, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert not any(part.defects for part in message.walk())
    return message


def contents(mail: Received) -> list[object]:
    """The files of a mail, in order."""
    return [part.get_payload(decode=True) for part in parsed(mail).iter_attachments()]
