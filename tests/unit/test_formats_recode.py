"""Mails made 7-bit: same content to a reader, same bytes wherever nothing had to change."""

from contextlib import suppress
from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import ContentRefused
from relay.formats.headers import assess
from relay.formats.recode import to_7bit

TEXT = st.lists(st.text("ab =.é😀\t", max_size=40), max_size=6).map("\r\n".join)
LONG = "x" * 1_200


def entity(*fields: str, body: bytes) -> bytes:
    return "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n" + body


def multipart(subtype: str, *parts: bytes, boundary: str = "b", around: bytes = b"") -> bytes:
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    return entity(
        "MIME-Version: 1.0",
        f'Content-Type: multipart/{subtype}; boundary="{boundary}"',
        "Content-Transfer-Encoding: 8bit",
        body=around + body + around,
    )


def leaves(content: bytes) -> list[tuple[str, bytes]]:
    """List (type, decoded bytes) of the leaf parts."""
    message = message_from_bytes(content, policy=policy.SMTP)
    found = []
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append((part.get_content_type(), payload))
    return found


def is_7bit(content: bytes) -> bool:
    traits = assess(content)
    return not traits.has_8bit and traits.longest_line <= 998


def test_a_7bit_mail_is_not_touched() -> None:
    content = multipart("signed", entity("Content-Type: text/plain", body=b"x"))
    assert to_7bit(content) is content


def test_a_text_without_mime_headers_gets_them() -> None:
    content = entity("Subject: x", body="è vero\r\n".encode())
    assert to_7bit(content) == entity(
        "Subject: x",
        "Content-Transfer-Encoding: quoted-printable",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        body=b"=C3=A8 vero\r\n",
    )
    assert b"charset=unknown-8bit" in to_7bit(entity("Subject: x", body=b"\xe8 vero\r\n"))
    assert b"charset=us-ascii" in to_7bit(entity("Subject: x", body=LONG.encode()))


def test_the_encoding_is_named_where_it_was() -> None:
    kind = "Content-Type: text/plain; charset=iso-8859-1"
    content = entity("MIME-Version: 1.0", "CONTENT-transfer-Encoding: 8bit", kind, body=b"\xe8\r\n")
    assert to_7bit(content) == entity(
        "MIME-Version: 1.0",
        "Content-Transfer-Encoding: quoted-printable",
        kind,
        body=b"=E8\r\n",
    )


def test_only_the_parts_that_need_it_change() -> None:
    clean = entity("content-type:  text/html", "X-Odd:   spacing", body=b"<b>7 bit</b>\r\n")
    image = entity(
        "Content-Type: image/png", "Content-Transfer-Encoding: binary", body=b"\x89P\r\n"
    )
    recoded = to_7bit(multipart("mixed", clean, image))
    assert b"--b\r\n" + clean + b"\r\n--b\r\n" in recoded
    assert b"Content-Transfer-Encoding: 7bit\r\n" in recoded
    assert b"Content-Transfer-Encoding: base64\r\n\r\niVANCg==\r\n" in recoded
    assert is_7bit(recoded)


def test_nested_parts_and_mails_are_reached() -> None:
    text = entity("Content-Type: text/plain; charset=utf-8", body="é".encode())
    inner = multipart("alternative", text, text, boundary="b-inner")
    mail = entity("Content-Type: message/rfc822", body=entity("Subject: x", body="ü\r\n".encode()))
    content = multipart("mixed", inner, mail, boundary="b")
    recoded = to_7bit(content)
    assert is_7bit(recoded)
    decoded = [data for _, data in leaves(recoded)]
    assert [data.strip(b"\r\n") for data in decoded] == [
        "é".encode(),
        "é".encode(),
        "ü".encode(),
    ]


def test_a_digest_holds_mails_without_saying_so() -> None:
    mail = b"\r\n" + entity("Subject: x", body="é\r\n".encode())
    recoded = to_7bit(multipart("digest", mail))
    assert b"\r\n\r\nSubject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n" in recoded
    assert is_7bit(recoded)


def test_words_around_the_parts_are_dropped_only_if_they_cannot_stay() -> None:
    part = entity("Content-Type: text/plain", body="é".encode())
    assert is_7bit(to_7bit(multipart("mixed", part, around="é\r\n".encode())))
    assert b"plain preamble" in to_7bit(multipart("mixed", part, around=b"plain preamble\r\n"))


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_long_lines_of_an_encoded_part_are_made_short(encoding: str) -> None:
    body = b"QUJD" * 400 if encoding == "base64" else LONG.encode() + b"=C3=A9"
    content = entity(
        "MIME-Version: 1.0",
        "Content-Type: application/pdf",
        f"Content-Transfer-Encoding: {encoding}",
        body=body,
    )
    recoded = to_7bit(content)
    assert is_7bit(recoded)
    assert leaves(recoded) == leaves(content)


def deep(levels: int) -> bytes:
    content = entity("Content-Type: text/plain", body="é".encode())
    for level in range(levels):
        content = multipart("mixed", content, boundary=f"b{level}")
    return content


def test_nesting_is_followed_to_its_bound() -> None:
    assert is_7bit(to_7bit(deep(100)))
    with pytest.raises(ContentRefused) as refused:
        to_7bit(deep(102))
    assert (refused.value.code, refused.value.enhanced) == (554, "5.6.3")


@pytest.mark.parametrize(
    "content",
    [
        multipart("signed", entity("Content-Type: text/plain", body=b"\xe9")),
        multipart("encrypted", entity("Content-Type: text/plain", body=LONG.encode())),
        multipart("mixed", multipart("signed", entity(body=b"\xe9"), boundary="s")),
        entity("Content-Type: application/pkcs7-mime; name=x", body=b"\xe9"),
        entity("Content-Type: multipart/mixed", body=b"\xe9"),
        entity("Content-Type: multipart/mixed; boundary=absent", body=b"\xe9"),
        entity("Content-Type: message/delivery-status", body=b"\xe9"),
        entity("Content-Type: text/plain", "Content-Transfer-Encoding: x-uu", body=b"\xe9"),
        entity("Content-Type: text/plain", "Content-Transfer-Encoding: base64", body=b"A\xe9"),
    ],
)
def test_what_would_break_is_refused(content: bytes) -> None:
    with pytest.raises(ContentRefused) as refused:
        to_7bit(content)
    assert (refused.value.code, refused.value.enhanced) == (554, "5.6.3")


@pytest.mark.parametrize(
    "content",
    [
        entity("Subject: é", body=b"x"),
        multipart("mixed", entity("Content-Description: é", body=b"x")),
        multipart("mixed", entity("Content-Type: message/rfc822", body=entity("A: é", body=b""))),
    ],
)
def test_8bit_headers_cannot_be_recoded(content: bytes) -> None:
    with pytest.raises(ContentRefused) as refused:
        to_7bit(content)
    assert (refused.value.code, refused.value.enhanced) == (554, "5.6.7")


@settings(max_examples=100, deadline=None)
@given(TEXT, st.binary(max_size=200).map(lambda raw: raw.translate(None, b"\r\n\0")), st.booleans())
def test_a_reader_decodes_the_same_content(text: str, data: bytes, long: bool) -> None:
    body = (LONG + text if long else text).encode()
    content = multipart(
        "mixed",
        entity("Content-Type: text/plain; charset=utf-8", body=body),
        entity("Content-Type: image/png", "Content-Transfer-Encoding: binary", body=data),
    )
    recoded = to_7bit(content)
    assert is_7bit(recoded)
    assert leaves(recoded) == leaves(content)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120), st.sampled_from(["text/plain", "multipart/mixed; boundary=b", "a"]))
def test_any_bytes_are_recoded_or_refused(body: bytes, kind: str) -> None:
    content = entity(f"Content-Type: {kind}", body=body + b"\r\n--b\r\n" + body)
    with suppress(ContentRefused):
        assert to_7bit(content).isascii()
