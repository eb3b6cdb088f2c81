"""What is read off a file's name and place, and a mail whose files came later."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.errors import Refused
from relay.formats.address import Mailbox
from relay.formats.attachment import (
    decode_base64,
    decoded_size,
    fetch_mode,
    mime_type_of,
    without_marker,
)
from relay.formats.compose import Attachment, Draft, base64_lines, compose, file_fields
from relay.formats.headers import assess
from relay.formats.insertion import BLOCK_BYTES, Insertion, encoded_size, inserted
from relay.model import FetchMode

MD5 = "9e107d9d372bb6826bd81d3542a419d6"
NAME = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=40
).filter(lambda text: text == text.strip() and "=?" not in text)
FILE = st.tuples(NAME, st.binary(max_size=400), st.booleans())


@pytest.mark.parametrize(
    ("storage_path", "mode"),
    [
        ("base64:aGk=", FetchMode.BASE64),
        ("http://files.test/a", FetchMode.HTTP_URL),
        ("HTTPS://files.test/a", FetchMode.HTTP_URL),
        ("/srv/acme/a.pdf", FetchMode.FILESYSTEM),
        ("doc_id=123", FetchMode.ENDPOINT),
        ("httpd/logo.png", FetchMode.ENDPOINT),
        ("ftp://files.test/a", FetchMode.ENDPOINT),
        ("base64", FetchMode.ENDPOINT),
    ],
)
def test_how_a_file_is_got_shows_in_how_its_place_is_written(
    storage_path: str, mode: FetchMode
) -> None:
    assert fetch_mode(storage_path) is mode


@pytest.mark.parametrize(
    ("filename", "name", "md5"),
    [
        ("report.pdf", "report.pdf", None),
        (f"report_{{MD5:{MD5}}}.pdf", "report.pdf", MD5),
        (f"report{{md5:{MD5.upper()}}}.pdf", "report.pdf", MD5),
        (f"{{MD5:{MD5}}}report.pdf", "report.pdf", MD5),
        (f"a {{MD5:{MD5}}} b.pdf", "a  b.pdf", MD5),
        (f"report {{MD5:{MD5}}}", "report", MD5),
        ("report_{MD5:abc}.pdf", "report.pdf", None),
        ("report_{MD5:}.pdf", "report.pdf", None),
        (f"{{MD5:{MD5}}}", "attachment", MD5),
        ("{MD5:{MD5:x}}", "{MD5:}", None),
        ("{MD5:", "{MD5:", None),
    ],
)
def test_the_marker_is_taken_out_of_a_name(filename: str, name: str, md5: str | None) -> None:
    assert without_marker(filename) == (name, md5)


@given(before=NAME, after=NAME)
@example(before="a", after=".tar.gz")
def test_a_marker_takes_nothing_else_with_it(before: str, after: str) -> None:
    name, md5 = without_marker(f"{before}{{MD5:{MD5}}}{after}")
    assert md5 == MD5
    assert name.endswith(after)
    assert name.startswith(before[:-1])
    assert len(before) + len(after) - len(name) in (0, 1)


@given(st.text(max_size=60))
def test_any_text_is_a_name(filename: str) -> None:
    without_marker(filename)
    mime_type_of(filename)


@pytest.mark.parametrize(
    ("filename", "mime_type"),
    [
        ("a.pdf", "application/pdf"),
        ("a.PNG", "image/png"),
        ("Приложение.txt", "text/plain"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("data:text/html,x.pdf", "application/pdf"),
    ],
)
def test_the_type_is_guessed_from_the_name(filename: str, mime_type: str) -> None:
    assert mime_type_of(filename) == mime_type


@given(st.binary(max_size=100))
def test_the_size_of_base64_is_known_before_it_is_decoded(data: bytes) -> None:
    encoded = base64_lines(data).replace(b"\r\n", b"").decode()
    assert decoded_size(encoded) == len(data)
    assert decode_base64(encoded) == data


@pytest.mark.parametrize("text", ["aGk", "aG k=", "aGk=\n", "aGk=aGk=", "a-_=", "é===", "="])
def test_base64_is_taken_to_the_letter(text: str) -> None:
    with pytest.raises(Refused):
        decode_base64(text)


def draft(
    inline: list[Attachment], files: list[Attachment], texts: tuple[str | None, ...]
) -> Draft:
    return Draft(
        sender=Mailbox("Alice", "alice@acme.example"),
        to=(Mailbox("", "bob@example.org"),),
        subject="Hello",
        message_id="<1@acme.example>",
        date="Fri, 21 Nov 2025 10:00:00 +0000",
        text=texts[0],
        html=texts[1],
        inline=tuple(inline),
        attachments=tuple(files),
    )


def blocks(data: bytes) -> list[bytes]:
    return [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]


def completed(whole: Draft, is_late: list[bool], prepend: bytes) -> bytes:
    """Compose without the late files, put fields in front, and insert the files."""
    files = [*whole.inline, *whole.attachments]
    kept = [
        Attachment(f.filename, f.mime_type, None if late else f.data, f.content_id)
        for f, late in zip(files, is_late, strict=True)
    ]
    split = len(whole.inline)
    composed = compose(draft(kept[:split], kept[split:], (whole.text, whole.html)))
    assert [gap.n for gap in composed.gaps] == [n for n, late in enumerate(is_late) if late]
    insertions = [
        Insertion(
            gap.from_end_bytes,
            file_fields(files[gap.n], "inline" if gap.n < split else "attachment"),
            blocks(files[gap.n].data or b""),
        )
        for gap in composed.gaps
    ]
    return b"".join(inserted(prepend + composed.content, insertions))


@given(
    inline=st.lists(FILE, max_size=3),
    files=st.lists(FILE, max_size=4),
    texts=st.tuples(st.none() | st.text("ab\n-=é", max_size=50), st.none() | st.just("<p>x")),
)
@example(inline=[("a", b"", True)], files=[("b", b"--=_\r\n", True)], texts=(None, None))
@example(inline=[], files=[("b", b"1", True), ("c", b"2", True)], texts=("t", "<p>"))
def test_files_that_came_later_stand_where_they_would_have_stood(
    inline: list[tuple[str, bytes, bool]],
    files: list[tuple[str, bytes, bool]],
    texts: tuple[str | None, ...],
) -> None:
    whole = draft(
        [Attachment(name, "image/png", data, f"{n}@x") for n, (name, data, _) in enumerate(inline)],
        [Attachment(name, "application/pdf", data) for name, data, _ in files],
        texts,
    )
    is_late = [late for _, _, late in [*inline, *files]]
    late = message_from_bytes(completed(whole, is_late, b"Received: x\r\n"), policy=policy.SMTP)
    at_once = message_from_bytes(compose(whole).content, policy=policy.SMTP)
    assert isinstance(late, EmailMessage)
    assert shape(late) == shape(at_once)
    payloads = [
        part.get_payload(decode=True) for part in late.walk() if part.get_content_disposition()
    ]
    assert payloads == [data for _, data, _ in [*inline, *files]]


def shape(message: EmailMessage) -> list[tuple[object, ...]]:
    """Everything of each part but its boundary."""
    assert not any(part.defects for part in message.walk())
    return [
        (
            part.get_content_type(),
            part.get_content_disposition(),
            part.get_filename(),
            part["Content-ID"],
            None if part.is_multipart() else part.get_payload(decode=True),
        )
        for part in message.walk()
    ]


def test_a_big_file_is_inserted_piece_by_piece() -> None:
    data = bytes(range(256)) * 4_000
    whole = draft([], [Attachment("a", "a/b", data)], ("t", None))
    content = completed(whole, [True], b"")
    assert assess(content).longest_line <= 998
    message = message_from_bytes(content, policy=policy.SMTP)
    assert next(islice(message.walk(), 2, None)).get_payload(decode=True) == data


@given(st.integers(0, 3 * BLOCK_BYTES))
@example(0)
@example(57)
@example(58)
@example(BLOCK_BYTES)
def test_the_encoded_size_is_known_before(size_bytes: int) -> None:
    assert encoded_size(size_bytes) == len(base64_lines(bytes(size_bytes)))
