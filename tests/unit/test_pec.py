import base64
import datetime
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from relay.formats.pec.cms import signed_content
from relay.formats.pec.model import PecEvent, Receipt, ReceiptKind
from relay.formats.pec.read import read_receipt
from tests.fakes.pec import AT, XML_HEAD, PecMail, daticert, multipart

CORPUS = Path(__file__).parents[1] / "data" / "pec"

EVENTS = {
    "accettazione": (ReceiptKind.ACCEPTANCE, PecEvent.ACCEPTANCE, False),
    "non-accettazione": (ReceiptKind.REFUSAL, PecEvent.ERROR, True),
    "presa-in-carico": (ReceiptKind.RELAY, PecEvent.RELAY, False),
    "avvenuta-consegna": (ReceiptKind.DELIVERY, PecEvent.DELIVERY, False),
    "errore-consegna": (ReceiptKind.FAILURE, PecEvent.ERROR, True),
    "mancata-consegna": (ReceiptKind.FAILURE, PecEvent.ERROR, True),
    "preavviso-errore-consegna": (ReceiptKind.DELAY, PecEvent.ERROR, False),
    "rilevazione-virus": (ReceiptKind.VIRUS, PecEvent.ERROR, True),
}
ENTITY = b'<!DOCTYPE postacert [<!ENTITY e "accettazione">]>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def read(mail: PecMail) -> Receipt:
    receipt = read_receipt(mail.build())
    assert receipt is not None
    return receipt


@pytest.mark.parametrize("word", EVENTS)
@pytest.mark.parametrize("has_xml", [True, False], ids=["certified", "header only"])
def test_every_kind_is_read(word: str, has_xml: bool) -> None:
    receipt = read(PecMail(word, xml="" if has_xml else None))
    assert (receipt.kind, receipt.event, receipt.is_failure) == EVENTS[word]
    assert receipt.message_ids == ("<1@acme.test>",)
    assert receipt.own_id == "<r1@gestore.test>"


@pytest.mark.parametrize("word", ["NON-ACCETTAZIONE", " non accettazione ", "Non_Accettazione"])
def test_a_refusal_in_other_spellings_is_no_acceptance(word: str) -> None:
    assert read(PecMail(word, xml=None)).kind is ReceiptKind.REFUSAL


def test_a_refusal_is_none_by_its_title_or_by_what_it_quotes() -> None:
    mail = PecMail("non-accettazione", headers={"Subject": "ACCETTAZIONE: accettazione"})
    assert read(mail).kind is ReceiptKind.REFUSAL
    assert (
        read_receipt(PecMail(None, xml=None, headers={"Subject": "ACCETTAZIONE"}).build()) is None
    )


def test_what_is_certified_wins_over_the_header() -> None:
    refused = daticert("non-accettazione", about="<2@acme.test>", error="altro")
    receipt = read(PecMail("accettazione", xml=refused))
    assert (receipt.kind, receipt.error) == (ReceiptKind.REFUSAL, "altro")
    assert receipt.message_ids == ("<2@acme.test>", "<1@acme.test>")


def test_certified_data_without_the_header_is_a_receipt() -> None:
    receipt = read(PecMail(None, xml=daticert("avvenuta-consegna", reached=("bob@pec.test",))))
    assert receipt.kind is ReceiptKind.DELIVERY


def test_a_header_that_says_two_things_says_nothing() -> None:
    raw = b"X-Ricevuta: accettazione\r\n" + PecMail("non-accettazione", xml=None).build()
    assert read_receipt(raw) is None


def test_the_header_stands_where_the_certified_kind_is_new() -> None:
    assert read(PecMail("accettazione", xml=daticert("altra-cosa"))).kind is ReceiptKind.ACCEPTANCE
    assert read_receipt(PecMail("nuova", xml=daticert("altra-cosa")).build()) is None


@pytest.mark.parametrize(
    "mail",
    [
        PecMail(None, headers={"X-Trasporto": "posta-certificata"}),
        PecMail("accettazione", headers={"X-Trasporto": "posta-certificata"}),
        PecMail(None, headers={"X-Trasporto": "errore", "Subject": "ANOMALIA MESSAGGIO: x"}),
        PecMail("accettazione", xml=daticert("posta-certificata")),
        PecMail(None, xml=daticert("posta-certificata")),
        PecMail(None, xml=None),
        PecMail(None, xml=None, original=PecMail("avvenuta-consegna").build()),
        PecMail(None, xml="<note>accettazione</note>"),
    ],
    ids=[
        *("transported", "transported receipt", "anomaly", "certified as transported"),
        *("transported by its data", "ordinary", "receipt attached", "other xml"),
    ],
)
def test_what_is_no_receipt_is_none(mail: PecMail) -> None:
    assert read_receipt(mail.build()) is None


def test_a_transported_mail_that_carries_a_receipt_is_none() -> None:
    inner = PecMail("avvenuta-consegna").build()
    outer = PecMail(
        None, headers={"X-Trasporto": "posta-certificata"}, xml=daticert("posta-certificata")
    )
    assert read_receipt(replace(outer, original=inner).build()) is None


def test_the_original_in_a_receipt_does_not_speak_for_it() -> None:
    original = PecMail("non-accettazione", about="<other@acme.test>").build()
    receipt = read(PecMail("avvenuta-consegna", reached=("bob@pec.test",), original=original))
    assert (receipt.kind, receipt.message_ids) == (ReceiptKind.DELIVERY, ("<1@acme.test>",))


def test_a_delivery_speaks_of_whom_it_reached_and_an_acceptance_of_all() -> None:
    both = ("bob@pec.test", "ann@pec.test")
    delivery = PecMail("avvenuta-consegna", recipients=both, reached=("ann@pec.test",))
    assert read(delivery).recipients == ("ann@pec.test",)
    assert read(PecMail("accettazione", recipients=both)).recipients == both
    assert (
        read(PecMail("presa-in-carico", recipients=both, reached=both[:1])).recipients == both[:1]
    )


def test_a_failure_says_why_and_when() -> None:
    detail = "5.1.1 - Gestore PEC S.p.A. - indirizzo non valido"
    receipt = read(PecMail("errore-consegna", error="no-dest", detail=detail))
    assert (receipt.error, receipt.detail, receipt.at) == ("no-dest", detail, AT)
    assert receipt.provider == "Gestore PEC S.p.A."
    assert receipt.provider_id == "opec1.20241115@gestore.test"


def test_a_virus_is_told_by_the_header_of_the_check() -> None:
    mail = PecMail("non-accettazione", headers={"X-VerificaSicurezza": "errore"})
    assert read(mail).error == "virus"


def test_without_certified_data_the_date_is_that_of_the_mail() -> None:
    receipt = read(PecMail("accettazione", xml=None))
    assert (receipt.at, receipt.recipients, receipt.error) == (AT + 2, (), None)
    assert read(PecMail("accettazione", xml=None, headers={"Date": "domani"})).at is None


def test_ids_are_taken_as_they_are_stored() -> None:
    folded = "<a-very-long-\r\n id@acme.test>"
    assert read(PecMail("accettazione", about=folded, xml=None)).message_ids == (
        "<a-very-long-id@acme.test>",
    )
    bare = PecMail("accettazione", about="1@acme.test")
    assert read(bare).message_ids == ("<1@acme.test>",)
    ours = {"X-Pillarbox-ID": "pk-1", "X-Genro-Mail-ID": "m1"}
    named = read(PecMail("accettazione", about=None, xml=None, headers=ours))
    assert (named.message_ids, named.pillarbox_id, named.genro_id) == ((), "pk-1", "m1")


@pytest.mark.parametrize(
    "xml",
    [
        XML_HEAD.encode() + ENTITY + b'<postacert tipo="&e;"/>',
        f"<!DOCTYPE p [<!ENTITY l0 'x'>{LAUGHS}]><postacert tipo='avvenuta-consegna'>&l9;"
        "</postacert>".encode(),
        b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><postacert>&x;</postacert>',
        b'<!DOCTYPE p SYSTEM "http://127.0.0.1:1/p.dtd"><postacert tipo="avvenuta-consegna"/>',
        b'<!DOCTYPE p [<!ENTITY % x SYSTEM "http://127.0.0.1:1/">%x;]><postacert tipo="x"/>',
        b"<!DOCTYPE postacert><postacert tipo='avvenuta-consegna'/>",
        b'<postacert tipo="avvenuta-consegna">' + b" " * 2_000_000 + b"</postacert>",
        b'<postacert tipo="avvenuta-consegna">' + b"<a>" * 20_000,
        b'<postacert tipo="avvenuta-consegna"><dati>',
        b'<?xml version="1.0" encoding="no-such"?><postacert tipo="avvenuta-consegna"/>',
        b"\x00\xff\xfe",
        b"",
    ],
    ids=[
        *("entity", "laughs", "external file", "external dtd", "parameter entity", "doctype"),
        *("too large", "too deep", "cut", "unknown encoding", "octets", "empty"),
    ],
)
def test_certified_data_that_is_not_safe_to_read_is_not_read(xml: bytes) -> None:
    started = time.monotonic()
    receipt = read_receipt(PecMail("accettazione", xml=xml or b" ").build())
    assert receipt is not None
    assert receipt.kind is ReceiptKind.ACCEPTANCE
    assert receipt.provider is None
    assert read_receipt(PecMail(None, xml=xml or b" ").build()) is None
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_certified_data_may_be_in_other_encodings(encoding: str) -> None:
    name = encoding.removesuffix("-sig")
    text = daticert("errore-consegna", detail="casella inesistente: è errata")
    xml = text.replace('encoding="UTF-8"', f'encoding="{name}"').encode(encoding)
    assert read(PecMail("errore-consegna", xml=xml)).detail == "casella inesistente: è errata"


def test_samples_of_real_providers_are_read() -> None:
    acceptance = read_receipt((CORPUS / "accettazione.eml").read_bytes())
    assert acceptance == Receipt(
        kind=ReceiptKind.ACCEPTANCE,
        at=AT,
        message_ids=("<SN05IE$951DEC16C1CFD3E4FD8FF1B1D24A99AE@fakepec.it>",),
        recipients=("rec@fakepec.it",),
        provider="FAKEPEC PEC S.p.A.",
        provider_id="opec210312.20241115182038.288127.606.1.53@fakepec.it",
        own_id="<opec210312.20241115182038.288127.606.1.771.53@fakepec.it>",
    )
    delivery = read_receipt((CORPUS / "email_2.eml").read_bytes())
    assert delivery is not None
    # Its addresses were taken out: a name without an at sign is nobody's.
    assert (delivery.kind, delivery.recipients) == (ReceiptKind.DELIVERY, ())
    assert delivery.message_ids == ("<CZPXCJRZKQDRVYXFAZYUIAWNACDAAHEVAEXAKN@example.com>",)


def certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gestore.test")])
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    end = start + datetime.timedelta(days=9)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(end).public_key(key.public_key())
    return builder.sign(key, hashes.SHA256()), key


def opaque(content: bytes) -> bytes:
    made, key = certificate()
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    options = [pkcs7.PKCS7Options.Binary]
    return builder.add_signer(made, key, hashes.SHA256()).sign(Encoding.DER, options)


def wrapped(mail: PecMail, cms: bytes) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in mail.fields())
    head = "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
    coding = "Content-Transfer-Encoding: base64\r\n\r\n"
    return (fields + head + coding).encode() + base64.encodebytes(cms)


def test_a_receipt_inside_its_signature_is_opened() -> None:
    mail = PecMail("accettazione", xml=daticert("errore-consegna", reached=("bob@pec.test",)))
    receipt = read_receipt(wrapped(mail, opaque(mail.entity())))
    assert receipt is not None
    assert (receipt.kind, receipt.recipients) == (ReceiptKind.FAILURE, ("bob@pec.test",))


def streamed(content: bytes) -> bytes:
    """The beginning of a SignedData as streaming signers write it, in indefinite lengths."""
    pieces = [content[at : at + 100] for at in range(0, len(content), 100)]
    octets = b"".join(b"\x04" + bytes([len(piece)]) + piece for piece in pieces)
    ends = b"\x00\x00"
    oid_signed = bytes.fromhex("06092a864886f70d010702")
    oid_data = bytes.fromhex("06092a864886f70d010701")
    encapsulated = b"\x30\x80" + oid_data + b"\xa0\x80\x24\x80" + octets + ends * 3
    signed_data = b"\x30\x80\x02\x01\x01\x31\x00" + encapsulated + b"\x31\x00" + ends
    return b"\x30\x80" + oid_signed + b"\xa0\x80" + signed_data + ends * 2


def test_signed_content_is_found_in_both_forms_of_length() -> None:
    assert signed_content(opaque(b"content")) == b"content"
    assert signed_content(streamed(b"content" * 99)) == b"content" * 99


def test_damaged_signatures_hold_nothing() -> None:
    whole = streamed(b"content" * 9)
    for damaged in (b"", b"\x30", b"\x30\x80" * 5000, b"\x30\xff" + bytes(300), whole[:40]):
        assert signed_content(damaged) is None
    detached = bytes.fromhex("300f06092a864886f70d010701a0020500")
    assert signed_content(detached) is None


def test_a_signature_that_does_not_open_leaves_the_header() -> None:
    receipt = read_receipt(wrapped(PecMail("accettazione"), b"MII"))
    assert receipt is not None
    assert (receipt.kind, receipt.provider) == (ReceiptKind.ACCEPTANCE, None)


def test_structures_without_end_are_left_in_time() -> None:
    started = time.monotonic()
    deep = b"\r\n".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d' % (n, n) for n in range(5000)
    )
    many = multipart("mixed", [b"\r\nx"] * 50_000)
    wide = multipart("mixed", [b"Content-Type: text/plain\r\n\r\n" + b"-" * 5_000_000])
    for entity in (deep, many, wide, b"--b\r\n" * 100_000):
        receipt = read_receipt(b"X-Ricevuta: accettazione\r\n" + entity)
        assert receipt is not None
        assert receipt.kind is ReceiptKind.ACCEPTANCE
    assert time.monotonic() - started < 2


def test_of_a_receipt_with_a_huge_original_the_beginning_is_read() -> None:
    started = time.monotonic()
    huge = PecMail("avvenuta-consegna", reached=("bob@pec.test",), original=b"x" * (40 << 20))
    assert read(huge).recipients == ("bob@pec.test",)
    cut = huge.build()[: 1 << 20]
    receipt = read_receipt(cut)
    assert receipt is not None
    assert receipt.recipients == ("bob@pec.test",)
    assert time.monotonic() - started < 5


def test_control_characters_do_not_pass() -> None:
    headers = {"X-Genro-Mail-ID": "m\x001", "Message-ID": "<a\x00b@gestore.test>"}
    receipt = read(PecMail("accettazione", about="<1\x00@acme.test>", xml=None, headers=headers))
    for text in (receipt.genro_id, receipt.own_id, *receipt.message_ids):
        assert text is not None
        assert text.isprintable()
