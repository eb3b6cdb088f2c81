"""Mails like those of providers, broken in every way: never an exception, never a long time, and
never another kind than one that the mail says somewhere.
"""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.formats.pec.cms import signed_content
from relay.formats.pec.daticert import NotCertified, read_daticert
from relay.formats.pec.model import Receipt, ReceiptKind
from relay.formats.pec.read import read_receipt
from tests.fakes.pec import PecMail, daticert

CORPUS = Path(__file__).parents[1] / "data" / "pec"
BOTH = ("bob@pec.test", "ann@pec.test")
SEEDS = [
    *(path.read_bytes() for path in sorted(CORPUS.glob("*.eml"))),
    *(PecMail(kind.value, recipients=BOTH, reached=BOTH[:1]).build() for kind in ReceiptKind),
    PecMail("errore-consegna", error="no-dest", detail="5.1.1 no", is_signed=False).build(),
    PecMail("avvenuta-consegna", original=PecMail("accettazione").build()).build(),
    PecMail(None, headers={"X-Trasporto": "posta-certificata"}).build(),
]
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\x00", b"\xff\xfe", b"--", b";", b'"', b"=", b"<", b">", b"&"),
    *(b"X-Ricevuta: accettazione\r\n", b"X-Trasporto: errore\r\n", b"<!DOCTYPE x>", b"]]>"),
    *(b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n", b"--b--\r\n", b"boundary="),
    *(b"Content-Transfer-Encoding: quoted-printable\r\n", b"application/pkcs7-mime", b"tipo="),
    *(b"non-accettazione", b"accettazione", b"<postacert>", b"daticert.xml", b"999999999", b"-"),
]
QUICK = settings(
    max_examples=300, deadline=1000, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with pieces cut out, doubled, moved, overwritten and put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 400)))
        piece = bytes(data[start:end])
        put = draw(
            st.one_of(
                st.just(b""),
                st.just(piece * 2),
                st.just(piece[::-1]),
                st.sampled_from(TOKENS),
                st.binary(max_size=20),
            )
        )
        data[start:end] = put
    return bytes(data)


def check(receipt: Receipt | None) -> None:
    if receipt is None:
        return
    texts = (receipt.error, receipt.detail, receipt.provider, receipt.provider_id, receipt.own_id)
    for text in (*texts, *receipt.recipients, *receipt.message_ids):
        assert text is None or len(text) <= 1000
        assert text is None or not any(char in text for char in "\x00\r\n")
        # What is stored must be writable as UTF-8.
        assert text is None or text.encode()


@QUICK
@given(mutated(SEEDS))
def test_no_mutated_mail_raises(raw: bytes) -> None:
    check(read_receipt(raw))


@QUICK
@given(st.binary(max_size=4000))
def test_no_octets_raise(raw: bytes) -> None:
    check(read_receipt(b"X-Ricevuta: accettazione\r\n" + raw))
    signed_content(raw)


@QUICK
@given(mutated([daticert(kind.value, reached=BOTH, detail="x").encode() for kind in ReceiptKind]))
def test_mutated_certified_data_is_read_or_refused(xml: bytes) -> None:
    try:
        certified = read_daticert(xml)
    except NotCertified:
        return
    assert len(certified.recipients) <= 10_000


@QUICK
@given(mutated([PecMail("non-accettazione", error="altro", own_id=None).build()]))
def test_a_mutated_refusal_is_no_acceptance_unless_the_word_is_put_in(raw: bytes) -> None:
    receipt = read_receipt(raw)
    if receipt is not None and receipt.kind is ReceiptKind.ACCEPTANCE:
        head = raw.lower().partition(b"\r\n\r\n")[0]
        assert b"x-ricevuta: accettazione" in head or b"non-accettazione" not in head


LARGE = 1_000_000
HOSTILE = {
    "elements": b"<postacert>" + b"".join(b"<a%d/>" % n for n in range(100_000)) + b"</postacert>",
    "recipients": (
        b"<postacert><intestazione>"
        + b"<destinatari>a@b</destinatari>" * 30_000
        + b"</intestazione>"
        b"</postacert>"
    ),
    "attributes": b"<postacert " + b" ".join(b'a%d=""' % n for n in range(60_000)) + b"/>",
    "text": b"<postacert>" + b"&#65;" * 200_000 + b"</postacert>",
    "comment": b"<postacert><!--" + b"-a" * 500_000 + b"--></postacert>",
    "name": b"<" + b"p" * LARGE + b"/>",
    "open": b"<" * LARGE,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_certified_data_costs_less_than_a_second(name: str) -> None:
    started = time.monotonic()
    receipt = read_receipt(PecMail("accettazione", xml=HOSTILE[name]).build())
    assert time.monotonic() - started < 1
    assert receipt is not None
    assert receipt.kind is ReceiptKind.ACCEPTANCE


HEAD = b"X-Ricevuta: accettazione\r\n"
HOSTILE_MAILS = {
    "boundaries": b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b" * LARGE,
    "spaces": b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b' + b" " * LARGE * 4,
    "parameters": b"Content-Type: multipart/mixed" + b"; boundary" * 9000 + b"\r\n\r\n",
    "type": b"Content-Type: multipart/mixed;" + b" " * 90_000 + b"\r\n\r\n",
    "date": b"Date: " + b"(" * 90_000 + b"\r\n\r\n",
    "fields": b"X: y\r\n" * 5000,
    "base64": b"Content-Transfer-Encoding: base64\r\n"
    b"Content-Type: text/xml; name=daticert.xml\r\n\r\n" + b"!=" * 900_000,
    "printable": b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"Content-Type: text/xml; name=daticert.xml\r\n\r\n" + b"=" * 1_900_000,
    "signature": b"Content-Type: application/pkcs7-mime\r\n\r\n" + b"\x30\x80" * LARGE,
    "pieces": b"Content-Type: application/pkcs7-mime\r\n\r\n\x30\x80" + b"\x04\x00" * LARGE,
}


@pytest.mark.parametrize("name", HOSTILE_MAILS)
def test_a_hostile_mail_costs_less_than_a_second(name: str) -> None:
    started = time.monotonic()
    check(read_receipt(HEAD + HOSTILE_MAILS[name]))
    assert time.monotonic() - started < 1
