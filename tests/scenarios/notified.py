"""Mail sent by SMTP in a whole node, and the notifications that its sender gets."""

import email
import email.policy
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import cast

import aiosmtplib

from relay.crypto import digest
from relay.model import Credential, SecretKind
from tests.fakes.upstream import FakeUpstream, Received
from tests.scenarios.conftest import Relay

SENDER = "Ann@acme.test"
PASSWORD = "secret"
GONE = "550 5.1.1 no such user"
CONTENT = "From: Ann@acme.test\r\nSubject: hello\r\nMessage-ID: <m1@acme.test>\r\n\r\nThe body.\r\n"


@dataclass(frozen=True)
class Report:
    """A notification as the upstream got it: `groups` are the recipients' fields."""

    raw: bytes
    mail: Message
    about: Message
    groups: dict[str, Message]


def report(received: Received) -> Report:
    mail = email.message_from_bytes(received.content, policy=email.policy.SMTPUTF8)
    parts = cast("list[Message]", mail.get_payload())
    about, *groups = cast("list[Message]", parts[1].get_payload())
    by_address = {group["Final-Recipient"].partition("; ")[2]: group for group in groups}
    return Report(received.content, mail, about, by_address)


async def send(
    relay: Relay,
    *to: str,
    notify: Mapping[str, str] | None = None,
    content: str = CONTENT,
    sender: str = SENDER,
    options: tuple[str, ...] = (),
) -> str:
    """Send by SMTP; return its pk. `notify` gives a recipient's parameters."""
    [(_, _, port)] = relay.node.smtp.addresses
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="t")
    async with client:
        await client.login("app", PASSWORD)
        return await submit(client, to, notify or {}, content, sender, options)


async def submit(
    client: aiosmtplib.SMTP,
    to: tuple[str, ...],
    notify: Mapping[str, str],
    content: str,
    sender: str,
    options: tuple[str, ...],
) -> str:
    await said(client, f"MAIL FROM:<{sender}> {' '.join(options)}")
    for address in to:
        await said(client, f"RCPT TO:<{address}> {notify.get(address, '')}")
    answer = await client.data(content.encode())
    return answer.message.rpartition(" ")[2]


async def said(client: aiosmtplib.SMTP, command: str) -> None:
    """Say a command as it is: the library's own words are ASCII."""
    answer = await client.execute_command(command.strip().encode())
    assert answer.code == 250, answer


async def prepared(relay: Relay, upstream: FakeUpstream, **changes: object) -> Relay:
    await relay.tenant("acme", **changes)
    await relay.account(upstream)
    login = Credential("app", "acme", SecretKind.SHA256, digest(PASSWORD))
    await relay.node.stores.credentials.save(login)
    return relay


async def one_report(upstream: FakeUpstream, *, after: int = 0) -> Report:
    """Wait for the one notification; `after` says how many other mails were taken."""
    received = await upstream.wait_for(after + 1)
    reports = [mail for mail in received if mail.sender == ""]
    assert len(reports) == 1, reports
    assert reports[0].recipients == (SENDER,)
    return report(reports[0])


async def no_report(relay: Relay, upstream: FakeUpstream) -> None:
    """See that nobody is told: what is queued in the end is not a notification."""
    assert await notifications(relay) == []
    assert [m for m in upstream.received if m.sender == ""] == []


async def notifications(relay: Relay) -> list[str]:
    sql = "SELECT pk FROM messages WHERE ingress = 'dsn' ORDER BY pk"
    return [row["pk"] for row in await relay.node.database.fetch(sql)]
