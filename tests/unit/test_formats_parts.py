import base64
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ContentRefused
from relay.formats.links import FileLink, size_text
from relay.formats.parts import Leaf, Tree, Undecodable, decoded_pieces, read_tree, with_links
from relay.formats.parts.decoding import PIECE_BYTES, Body

URL = "https://files.test/download/abc-DEF_123?a=b&c=d"
CRLF = b"\r\n"


def entity(fields: str, body: bytes) -> bytes:
    return fields.replace("\n", "\r\n").encode() + CRLF * 2 + body


def multipart(subtype: str, parts: list[bytes], boundary: str = "b1") -> bytes:
    mark = f"--{boundary}".encode()
    body = b"".join(mark + CRLF + part + CRLF for part in parts) + mark + b"--\r\n"
    return entity(f'Content-Type: multipart/{subtype}; boundary="{boundary}"', body)


def mail(body: bytes) -> bytes:
    return b"From: a@b.test\r\nSubject: hello\r\nMIME-Version: 1.0\r\n" + body


def file_part(name: str, data: bytes, kind: str = "application/pdf") -> bytes:
    fields = (
        f"Content-Type: {kind}\nContent-Transfer-Encoding: base64\n"
        f'Content-Disposition: attachment; filename="{name}"'
    )
    return entity(fields, base64.encodebytes(data).replace(b"\n", CRLF))


TEXT = entity("Content-Type: text/plain; charset=utf-8", b"hello")
HTML = entity("Content-Type: text/html; charset=utf-8", b"<html><body>hello</body></html>")
PDF = file_part("big.pdf", b"%PDF" * 500)


def links_of(*leaves: Leaf) -> list[FileLink]:
    return [FileLink(leaf.name, 2000, URL) for leaf in leaves]


def without_files(content: bytes, *names: str) -> bytes:
    tree = read_tree(content)
    removed = [leaf for leaf in tree.leaves if leaf.name in names]
    assert len(removed) == len(names)
    return with_links(content, tree, removed, links_of(*removed))


def parts_of(content: bytes, tree: Tree) -> list[bytes]:
    return [content[leaf.start : leaf.end] for leaf in tree.leaves]


def texts(content: bytes) -> list[str]:
    message = message_from_bytes(content, policy=policy.default)
    return [p.get_content() for p in message.walk() if p.get_content_maintype() == "text"]


def kinds(content: bytes) -> list[str]:
    return [p.get_content_type() for p in message_from_bytes(content).walk()]


class TestTakingAFileOut:
    def test_the_link_is_readable_in_the_text_as_it_travels(self) -> None:
        out = without_files(mail(multipart("mixed", [TEXT, PDF])), "big.pdf")
        assert f"big.pdf (2.0 KB):\r\n{URL}\r\n".encode() in out
        assert b"%PDF" not in out
        assert kinds(out) == ["multipart/mixed", "text/plain"]

    def test_text_and_html_both_get_the_link(self) -> None:
        body = multipart("alternative", [TEXT, HTML], "b2")
        text, html = texts(without_files(mail(multipart("mixed", [body, PDF])), "big.pdf"))
        assert URL in text
        assert f'<a href="{URL.replace("&", "&amp;")}">big.pdf</a>' in html
        assert html.endswith("</body></html>")

    def test_a_name_is_no_markup_in_html(self) -> None:
        content = mail(multipart("mixed", [HTML, file_part("<b>&.pdf", b"x")]))
        assert "&lt;b&gt;&amp;.pdf" in texts(without_files(content, "<b>&.pdf"))[0]

    def test_a_mail_of_one_file_becomes_a_text(self) -> None:
        out = without_files(mail(PDF), "big.pdf")
        assert kinds(out) == ["text/plain"]
        assert out.startswith(b"From: a@b.test\r\nSubject: hello\r\nMIME-Version: 1.0\r\n")
        assert URL in texts(out)[0]

    def test_a_mail_without_text_gets_one(self) -> None:
        image = file_part("a.png", b"x", "image/png")
        out = without_files(mail(multipart("mixed", [image, PDF])), "big.pdf")
        assert kinds(out) == ["multipart/mixed", "image/png", "text/plain"]
        assert URL in texts(out)[0]

    def test_no_multipart_is_left_without_a_part(self) -> None:
        inner = multipart("mixed", [PDF], "b2")
        out = without_files(mail(multipart("mixed", [TEXT, inner])), "big.pdf")
        assert kinds(out) == ["multipart/mixed", "text/plain", "multipart/mixed", "text/plain"]
        assert not message_from_bytes(out).defects

    def test_what_follows_an_unclosed_multipart_is_found(self) -> None:
        content = mail(multipart("mixed", [TEXT, PDF]))[: -len(b"--b1--\r\n")]
        assert kinds(without_files(content, "big.pdf")) == ["multipart/mixed", "text/plain"]

    def test_a_boundary_that_begins_like_another_is_another(self) -> None:
        inner = multipart("alternative", [TEXT, HTML], "b1x")
        content = mail(multipart("mixed", [inner, PDF]))
        assert [leaf.kind for leaf in read_tree(content).leaves] == [
            "text/plain",
            "text/html",
            "application/pdf",
        ]

    def test_an_attached_text_gets_no_link(self) -> None:
        note = entity("Content-Type: text/plain\nContent-Disposition: attachment", b"mine")
        out = without_files(mail(multipart("mixed", [note, TEXT, PDF])), "big.pdf")
        assert texts(out)[0] == "mine"
        assert URL in texts(out)[1]

    def test_a_mail_without_any_place_for_a_link_is_refused(self) -> None:
        content = mail(PDF)
        with pytest.raises(ContentRefused):
            with_links(content, read_tree(content), [], [FileLink("x", 1, URL)])


class TestTheTextThatIsWrittenInto:
    @pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit", "7bit"])
    @pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "iso-2022-jp"])
    def test_says_what_it_said_in_its_charset(self, charset: str, encoding: str) -> None:
        said = "日本語" if charset == "iso-2022-jp" else "Grüße, Zoë"
        if encoding == "7bit":
            said = "plain"
        message = EmailMessage(policy=policy.SMTP)
        message.set_content(said, charset=charset, cte=None if charset[4:7] == "202" else encoding)
        message.add_attachment(b"x" * 90, "application", "pdf", filename="a.pdf")
        out = without_files(message.as_bytes(), "a.pdf")
        (text,) = texts(out)
        assert text.startswith(said)
        assert URL in text
        assert f'charset="{charset}"'.encode() in out

    def test_travels_readable_once_it_is_ascii(self) -> None:
        fields = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64"
        text = entity(fields, base64.encodebytes(b"hello\r\n"))
        out = without_files(mail(multipart("mixed", [text, PDF])), "big.pdf")
        assert URL.encode() in out
        assert texts(out)[0].startswith("hello\r\n")

    def test_writes_a_name_that_its_charset_lacks_without_accents(self) -> None:
        ascii_text = entity("Content-Type: text/plain; charset=us-ascii", b"hello")
        fields = (
            "Content-Type: application/pdf\nContent-Disposition: attachment;"
            " filename*=utf-8''%C3%9Cber%E6%97%A5.pdf"
        )
        out = without_files(
            mail(multipart("mixed", [ascii_text, entity(fields, b"x")])), "Über日.pdf"
        )
        assert b"Uber?.pdf (2.0 KB)" in out

    def test_that_is_utf_16_is_left_and_another_is_put_beside_it(self) -> None:
        fields = "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64"
        wide = entity(fields, base64.encodebytes("hello".encode("utf-16")))
        out = without_files(mail(multipart("mixed", [wide, PDF])), "big.pdf")
        assert wide in out
        assert URL in texts(out)[1]

    def test_keeps_a_line_that_is_too_long_for_plain_text_in_quoted_printable(self) -> None:
        content = mail(multipart("mixed", [TEXT, PDF]))
        tree = read_tree(content)
        url = "https://files.test/" + "x" * 2000
        out = with_links(content, tree, [tree.leaves[1]], [FileLink("a", 1, url)])
        assert max(map(len, out.split(CRLF))) <= 998
        assert url in texts(out)[0]


class TestWhatMustNotBeChanged:
    @pytest.mark.parametrize(
        "content",
        [
            multipart("signed", [TEXT, PDF]),
            multipart("encrypted", [TEXT, PDF]),
            multipart("mixed", [multipart("signed", [TEXT, TEXT], "b2"), PDF]),
            entity("Content-Type: application/pkcs7-mime; smime-type=enveloped-data", b"x"),
            entity("Content-Type: application/x-pkcs7-mime", b"x"),
            entity("Content-Type: text/plain", b"-----BEGIN PGP MESSAGE-----\r\n"),
            entity("Content-Type: text/plain", b"Hi\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n"),
            entity(
                "Content-Type: text/plain\nContent-Transfer-Encoding: base64",
                base64.encodebytes(b"-----BEGIN PGP MESSAGE-----\r\n"),
            ),
        ],
    )
    def test_is_known(self, content: bytes) -> None:
        assert read_tree(mail(content)).sealed

    def test_is_not_what_only_speaks_of_it(self) -> None:
        quoted = entity("Content-Type: text/plain", b"> -----BEGIN PGP MESSAGE-----\r\n")
        forwarded = entity("Content-Type: message/rfc822", mail(multipart("signed", [TEXT], "b3")))
        assert read_tree(mail(multipart("mixed", [quoted, forwarded]))).sealed is None

    def test_a_dkim_signature_is_noted_but_seals_nothing(self) -> None:
        tree = read_tree(b"DKIM-Signature: v=1\r\n" + mail(TEXT))
        assert (tree.sealed, tree.has_dkim) == (None, True)


class TestNames:
    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ('Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
            ("Content-Disposition: attachment; filename=a.pdf; size=1", "a.pdf"),
            ('Content-Disposition: attachment; filename="a\\"b.pdf"', 'a"b.pdf'),
            ("Content-Disposition: attachment; filename*=utf-8'de'%C3%9Cber.pdf", "Über.pdf"),
            ("Content-Disposition: attachment; filename*=iso-8859-1''%DCber.pdf", "Über.pdf"),
            ("Content-Disposition: attachment; filename*=nonsense''%DCber.pdf", "Über.pdf"),
            (
                "Content-Disposition: attachment; filename*1*=%9Cber; filename*2=%41.pdf;"
                " filename*0*=utf-8''%C3",
                "Über%41.pdf",
            ),
            ('Content-Disposition: attachment; filename*0="a"; filename*1="b.pdf"', "ab.pdf"),
            ('Content-Type: x/y; name="=?utf-8?q?=C3=9Cber.pdf?="', "Über.pdf"),
            ('Content-Disposition: attachment; filename="../../etc/passwd"', "passwd"),
            ('Content-Disposition: attachment; filename="C:\\\\x\\\\a.pdf"', "a.pdf"),
            ('Content-Disposition: attachment; filename=".."', "attachment"),
            ('Content-Disposition: attachment; filename="a\t b.pdf"', "a b.pdf"),
            ('Content-Disposition: attachment; filename="\t"', "attachment"),
            ("Content-Disposition: attachment; filename*=utf-8''%E2%80%AEfdp.exe", "fdp.exe"),
            ("Content-Type: message/rfc822", "message.eml"),
            ("Content-Disposition: attachment", "attachment"),
        ],
    )
    def test_are_read_as_readers_do(self, fields: str, name: str) -> None:
        (leaf,) = read_tree(mail(entity(fields, b"x"))).leaves
        assert leaf.name == name

    @given(st.text(max_size=300))
    def test_are_always_fit_for_a_line(self, given_name: str) -> None:
        fields = f'Content-Disposition: attachment; filename="{given_name}"'
        text = fields.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
        (leaf,) = read_tree(mail(text + CRLF * 2 + b"x")).leaves
        assert leaf.name.strip()
        assert not set("\r\n\0/\\") & set(leaf.name)


class TestDecoding:
    @given(st.binary(max_size=3000), st.integers(1, 100))
    def test_base64_in_any_lines_gives_the_bytes_back(self, data: bytes, width: int) -> None:
        coded = base64.b64encode(data)
        wire = CRLF.join(coded[at : at + width] for at in range(0, len(coded), width))
        assert b"".join(decoded_pieces(wire, Body(0, len(wire), "base64"))) == data

    def test_base64_longer_than_a_piece_is_decoded_in_several(self) -> None:
        data = bytes(range(256)) * (PIECE_BYTES // 64)
        wire = base64.encodebytes(data).replace(b"\n", CRLF)
        pieces = list(decoded_pieces(wire, Body(0, len(wire), "base64")))
        assert len(pieces) > 3
        assert b"".join(pieces) == data

    @pytest.mark.parametrize("wire", [b"QUJD=QUJD", b"QUI=QUI=", b"Q", b"QU=I", b"=QUJ"])
    def test_base64_that_readers_do_not_agree_on_is_none(self, wire: bytes) -> None:
        with pytest.raises(Undecodable):
            list(decoded_pieces(wire, Body(0, len(wire), "base64")))

    @given(st.binary(max_size=3000))
    def test_quoted_printable_gives_the_bytes_back(self, data: bytes) -> None:
        message = EmailMessage()
        message.set_content(data, "application", "octet-stream", cte="quoted-printable")
        wire = message.as_bytes(policy=policy.SMTP).partition(CRLF * 2)[2]
        pieces = decoded_pieces(wire, Body(0, len(wire), "quoted-printable"))
        assert b"".join(pieces).removesuffix(CRLF) == data.removesuffix(CRLF) or data.endswith(
            (b"\r", b"\n")
        )

    def test_an_unknown_encoding_is_not_guessed(self) -> None:
        with pytest.raises(Undecodable):
            decoded_pieces(b"x", Body(0, 1, "x-uuencode"))


class TestBounds:
    def test_nesting_ends_somewhere(self) -> None:
        content = TEXT
        for depth in range(40):
            content = multipart("mixed", [content], f"deep{depth}")
        with pytest.raises(ContentRefused):
            read_tree(mail(content))

    def test_parts_are_counted(self) -> None:
        with pytest.raises(ContentRefused):
            read_tree(mail(multipart("mixed", [b"\r\nx"] * 3000)))

    @pytest.mark.parametrize("boundary", ["", "; boundary=b2", '; boundary="'])
    def test_a_multipart_that_cannot_be_parted_is_one_leaf(self, boundary: str) -> None:
        (leaf,) = read_tree(mail(entity(f"Content-Type: multipart/mixed{boundary}", b"x"))).leaves
        assert leaf.kind == "multipart/mixed"

    @given(st.binary(max_size=500))
    def test_nothing_that_comes_in_raises_anything_else(self, body: bytes) -> None:
        head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        for content in (body, head + body, head + b"--b\r\n" + body):
            read_tree(content)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (999_960, "1.0 MB"),
        (5 * 10**12, "5.0 TB"),
    ],
)
def test_sizes_have_few_digits(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


LEAVES = st.sampled_from(
    [
        TEXT,
        HTML,
        entity("Content-Type: text/plain; charset=us-ascii", b"-- \r\nodd  \r\n\r\n"),
        entity("Content-Type: IMAGE/png;\n\tname=x\nContent-transfer-encoding:  BASE64", b"QUJD"),
        entity("Content-Type: message/rfc822", mail(multipart("mixed", [TEXT, PDF], "b9"))),
        b"\r\nno header",
        PDF,
    ]
)


@st.composite
def mails(draw: st.DrawFn) -> bytes:
    count = 0

    def node(depth: int) -> bytes:
        nonlocal count
        if depth == 3 or draw(st.booleans()):
            return draw(LEAVES)
        count += 1
        boundary = f"=_{count}"
        parts = [node(depth + 1) for _ in range(draw(st.integers(1, 4)))]
        return multipart(draw(st.sampled_from(["mixed", "related", "x-odd"])), parts, boundary)

    return mail(node(0))


@given(mails(), st.data())
def test_every_part_that_is_not_meant_stays_byte_for_byte(
    content: bytes, data: st.DataObject
) -> None:
    tree = read_tree(content)
    files = [leaf for leaf in tree.leaves if leaf.kind == "application/pdf"]
    removed = data.draw(st.lists(st.sampled_from(files), unique_by=id)) if files else []
    if not removed:
        return
    out = with_links(content, tree, removed, links_of(*removed))
    firsts = {
        kind: next((x for x in tree.leaves if x.is_text and x.kind == kind), None)
        for kind in ("text/plain", "text/html")
    }
    untouched = [x for x in tree.leaves if x not in removed and x not in firsts.values()]
    after = read_tree(out)
    left = parts_of(out, after)
    for leaf in untouched:
        left.remove(content[leaf.start : leaf.end])
    # What remains are texts with the link: those that had been there, or one in place of a file.
    assert left
    assert all(URL.encode() in part.replace(b"&amp;", b"&") for part in left)
    assert len(after.leaves) >= len(tree.leaves) - len(removed)
    assert not message_from_bytes(out).defects
