"""A mail with files from everywhere through a real Postfix, compared part by part."""

from email.message import EmailMessage

import pytest

from tests.fakes.file_server import FileServer, Reply
from tests.fakes.upstream import FakeUpstream
from tests.peers.postfix import Postfix
from tests.scenarios.attaching import at, given, parsed, post
from tests.scenarios.conftest import Relay

pytestmark = pytest.mark.peers("postfix")

# Every octet, and lines that a careless relay would break or stuff.
FILE = bytes(range(256)) * 2000 + b"\r\n.\r\nFrom x\n\r" + b"-" * 2000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def tree(message: EmailMessage, depth: int = 0) -> list[tuple[object, ...]]:
    """Each part: how deep, of what type, how shown, by what name, with what bytes."""
    content = None if message.is_multipart() else message.get_payload(decode=True)
    part = (
        depth,
        message.get_content_type(),
        message.get_content_disposition(),
        message.get_filename(),
        message["Content-ID"],
        content,
    )
    below = message.iter_parts() if message.is_multipart() else ()
    return [part, *(each for inner in below for each in tree(inner, depth + 1))]  # type: ignore[arg-type] # its parts are EmailMessages


async def test_every_part_arrives_as_it_was_fetched(
    relay: Relay, postfix: Postfix, mailbox: FakeUpstream
) -> None:
    await relay.node.stores.accounts.save(postfix.account())
    answers = {"/logo": PNG, "/big": FILE}
    async with FileServer(lambda ask: Reply(answers.get(ask.path, b"from the endpoint"))) as files:
        await relay.tenant("acme", client_base_url=files.url)
        accepted = await post(
            relay,
            at(f"{files.url}/big", "Übersicht „2026“.bin"),
            given(b"", "empty.txt"),
            at("doc=7", "data.csv"),
            text="see the files\n",
            html='<p>see the files</p><img src="cid:logo@acme">\n',
            inline=[at(f"{files.url}/logo", "logo.png", content_id="logo@acme")],
        )
        await relay.settled(accepted.pk, "sent")
    [mail] = await mailbox.wait_for(1)
    html = b'<p>see the files</p><img src="cid:logo@acme">\r\n'
    assert tree(parsed(mail)) == [
        (0, "multipart/mixed", None, None, None, None),
        (1, "multipart/related", None, None, None, None),
        (2, "multipart/alternative", None, None, None, None),
        (3, "text/plain", None, None, None, b"see the files\r\n"),
        (3, "text/html", None, None, None, html),
        (2, "image/png", "inline", "logo.png", "<logo@acme>", PNG),
        (1, "application/octet-stream", "attachment", "Übersicht „2026“.bin", None, FILE),
        (1, "text/plain", "attachment", "empty.txt", None, b""),
        (1, "text/csv", "attachment", "data.csv", None, b"from the endpoint"),
    ]
