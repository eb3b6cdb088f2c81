"""A composed mail, as Python's own parser reads it."""

from dataclasses import replace
from email import message_from_string, policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import Refused
from relay.formats.address import Mailbox
from relay.formats.compose import Attachment, Draft, compose
from relay.formats.headers import assess, decode_words, scan

PNG = bytes(range(256)) * 3
WRITABLE = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from(
    " ,\"<>é😀'"
)
LINE = st.text(WRITABLE, max_size=120).filter(lambda text: "=?" not in text)
# Longer names are cut into several words, between which Python 3.11's parser leaves a space.
NAME = st.text(WRITABLE, max_size=10).filter(lambda text: "=?" not in text)
BODY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("\n\r .=é"),
    max_size=300,
)


def draft(**changes: object) -> Draft:
    fields: dict[str, object] = {
        "sender": Mailbox("Alice", "alice@acme.example"),
        "to": (Mailbox("", "bob@example.org"),),
        "subject": "Hello",
        "message_id": "<1@acme.example>",
        "date": "Fri, 21 Nov 2025 10:00:00 +0000",
        "text": "Hi\n",
    }
    return Draft(**(fields | changes))  # type: ignore[arg-type]  # built by name, checked by use


def written(mail: Draft) -> bytes:
    """Return the mail, after a look at whether all that is told of it is so."""
    composed = compose(mail)
    traits = assess(composed.content)
    assert composed.head == scan(composed.content)
    assert replace(traits, longest_line=max(traits.longest_line, 998)) == composed.traits
    return composed.content


def parsed(content: bytes) -> EmailMessage:
    assess(content)
    message = message_from_string(content.decode(), policy=policy.SMTPUTF8)
    assert isinstance(message, EmailMessage)
    assert not any(part.defects for part in message.walk())
    return message


def text_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def unified(text: str) -> str:
    """Only the kind of its line ends, and one at the end, may change in a text."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def test_a_plain_ascii_mail_is_what_a_person_would_write() -> None:
    assert written(
        draft(
            cc=(Mailbox("Doe, J.", "j@x.example"),),
            reply_to=(Mailbox("", "r@x.example"),),
            headers=(("X-Campaign", "spring"),),
            text="See https://x.example/?a=b&c=d\nBye",
        )
    ) == (
        b"From: Alice <alice@acme.example>\r\n"
        b"To: bob@example.org\r\n"
        b'Cc: "Doe, J." <j@x.example>\r\n'
        b"Reply-To: r@x.example\r\n"
        b"Subject: Hello\r\n"
        b"Date: Fri, 21 Nov 2025 10:00:00 +0000\r\n"
        b"Message-ID: <1@acme.example>\r\n"
        b"X-Campaign: spring\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"See https://x.example/?a=b&c=d\r\nBye\r\n"
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Perché no, è vero\n", "quoted-printable"),
        ("Здравствуйте, друзья\n", "base64"),
        ("", "7bit"),
    ],
)
def test_the_most_readable_encoding_is_chosen(text: str, encoding: str) -> None:
    message = parsed(written(draft(text=text)))
    assert message["Content-Transfer-Encoding"] == encoding
    assert unified(message.get_content()) == unified(text)


@settings(max_examples=100, deadline=None)
@given(subject=LINE, names=st.lists(NAME, min_size=3, max_size=3), value=LINE)
def test_every_header_reads_back_as_given(subject: str, names: list[str], value: str) -> None:
    sender, first, second = names
    message = parsed(
        written(
            draft(
                sender=Mailbox(sender.strip(), "alice@acme.example"),
                to=(
                    Mailbox(first.strip(), '"b b"@x.example'),
                    Mailbox(second.strip(), "c@x.example"),
                ),
                subject=subject,
                headers=(("X-Value", value),),
            )
        )
    )
    boxes = [*message["From"].addresses, *message["To"].addresses]
    assert [box.display_name for box in boxes] == [name.strip() for name in names]
    assert [box.addr_spec for box in boxes] == [
        "alice@acme.example",
        '"b b"@x.example',
        "c@x.example",
    ]
    assert message["Subject"] == subject
    assert message["X-Value"] == value


@settings(max_examples=100, deadline=None)
@given(text=BODY, html=BODY)
def test_text_and_html_read_back_as_given(text: str, html: str) -> None:
    both = parsed(written(draft(text=text, html=html)))
    assert both.get_content_type() == "multipart/alternative"
    assert unified(text_of(both, "plain")) == unified(text)
    assert unified(text_of(both, "html")) == unified(html)
    alone = parsed(written(draft(text=None, html=html)))
    assert alone.get_content_type() == "text/html"
    assert unified(alone.get_content()) == unified(html)


def test_files_and_inline_images_stand_where_readers_look_for_them() -> None:
    message = parsed(
        written(
            draft(
                html='<img src="cid:logo@x">',
                inline=(Attachment("logo.png", "image/png", PNG, "logo@x"),),
                attachments=(
                    Attachment('a "b".pdf', "application/pdf", PNG),
                    Attachment("Приложение 😀.txt", "text/plain", "é".encode()),
                    Attachment("mail.eml", "message/rfc822", b"Subject: x\r\n\r\n"),
                ),
            )
        )
    )
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/related",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "image/png",
        "application/pdf",
        "text/plain",
        "application/octet-stream",
    ]
    files = list(message.iter_attachments())
    assert [part.get_filename() for part in files] == [
        'a "b".pdf',
        "Приложение 😀.txt",
        "mail.eml",
    ]
    assert files[0].get_payload(decode=True) == PNG
    image = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert image["Content-ID"] == "<logo@x>"
    assert image.get_content_disposition() == "inline"


def test_an_address_outside_ascii_makes_the_headers_raw_utf8() -> None:
    content = written(draft(sender=Mailbox("Zoë", "zoë@acme.example"), subject="Grüße"))
    assert assess(content).has_utf8_headers
    message = parsed(content)
    assert message["From"].addresses[0].addr_spec == "zoë@acme.example"
    assert message["Subject"] == "Grüße"


def test_a_name_of_many_words_reads_back_as_given() -> None:
    head = scan(written(draft(sender=Mailbox("Grüße 😀 " * 20 + "x", "a@b.c"))))
    assert decode_words(head.first("From") or "") == "Grüße 😀 " * 20 + "x <a@b.c>"


def test_a_name_that_came_encoded_is_not_encoded_twice() -> None:
    message = parsed(written(draft(sender=Mailbox("=?utf-8?q?Zo=C3=AB=2C?=", "z@x.example"))))
    assert message["From"].addresses[0].display_name == "Zoë,"


def test_two_thousand_recipients_fit_and_are_folded() -> None:
    boxes = tuple(Mailbox(f"Nr {n}", f"user{n}@example.org") for n in range(2_000))
    content = written(draft(to=boxes))
    assert assess(content).longest_line <= 998
    assert len(parsed(content)["To"].addresses) == 2_000


def test_one_mailbox_twice_is_still_two() -> None:
    bob = Mailbox("", "bob@example.org")
    assert len(parsed(written(draft(to=(bob, bob))))["To"].addresses) == 2


def test_a_name_of_any_length_makes_no_long_line() -> None:
    for name in ("a b." * 2_000, '"' * 900):
        content = written(draft(sender=Mailbox(name, "a@b.c")))
        assert assess(content).longest_line <= 998


EVIL = "a\r\nBcc: v@x"


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": EVIL},
        {"subject": "=?utf-8?q?a=0D=0ABcc=3A_v=40x?="},
        {"subject": "\ud800"},
        {"sender": Mailbox(EVIL, "a@b.c")},
        {"sender": Mailbox("", EVIL)},
        {"to": (Mailbox(EVIL, "a@b.c"),)},
        {"cc": (Mailbox("", "a@b.c\n"),)},
        {"reply_to": (Mailbox("=?utf-8?b?YQ0KQmNjOiB2QHg=?=", "a@b.c"),)},
        {"message_id": "<a@b>\r\nBcc: v@x"},
        {"message_id": "a@b"},
        {"date": EVIL},
        {"headers": ((EVIL, "x"),)},
        {"headers": (("X-A", EVIL),)},
        {"headers": (("Bcc", "v@x"),)},
        {"text": "a\0b"},
        {"html": "\ud800"},
        {"attachments": (Attachment(EVIL, "a/b", b""),)},
        {"attachments": (Attachment("x\ud800", "a/b", b""),)},
        {"attachments": (Attachment("x" * 256, "a/b", b""),)},
        {"attachments": (Attachment("x", "a/b\r\nBcc: v@x", b""),)},
        {"attachments": (Attachment("x", "a", b""),)},
        {"inline": (Attachment("x", "a/b", b"", "c>\r\nBcc: v@x"),)},
    ],
)
def test_nothing_breaks_out_of_its_field(changes: dict[str, object]) -> None:
    with pytest.raises(Refused):
        written(draft(**changes))


def test_no_field_is_written_that_was_not_asked_for() -> None:
    assert [field.name for field in scan(written(draft())).fields] == [
        b"from",
        b"to",
        b"subject",
        b"date",
        b"message-id",
        b"mime-version",
        b"content-type",
        b"content-transfer-encoding",
    ]
