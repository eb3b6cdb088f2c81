"""Mails of a provider of certified mail (PEC), built as the technical rules of 2 November 2005 have
them (§6.3 to §6.5, §7.4).

    PecMail("accettazione", about="<1@acme.test>", recipients=("bob@pec.test",)).build()

By default a receipt is signed (multipart/signed, with a signature that verifies nothing) and holds
a `daticert.xml` that agrees with its header. What is None is left out.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

TITLES = {
    "accettazione": "ACCETTAZIONE",
    "non-accettazione": "AVVISO DI NON ACCETTAZIONE",
    "presa-in-carico": "PRESA IN CARICO",
    "avvenuta-consegna": "CONSEGNA",
    "errore-consegna": "AVVISO DI MANCATA CONSEGNA",
    "mancata-consegna": "AVVISO DI MANCATA CONSEGNA",
    "preavviso-errore-consegna": "AVVISO DI MANCATA CONSEGNA PER SUP. TEMPO MASSIMO",
    "rilevazione-virus": "PROBLEMA DI SICUREZZA",
}
# The element that says whom a receipt of this kind is about.
REACHED = {
    "presa-in-carico": "ricezione",
    "avvenuta-consegna": "consegna",
    "errore-consegna": "consegna",
    "preavviso-errore-consegna": "consegna",
    "rilevazione-virus": "consegna",
}
AT = 1_731_691_238.0  # 15/11/2024 18:20:38 +0100
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def daticert(
    kind: str,
    about: str | None = "<1@acme.test>",
    recipients: tuple[str, ...] = ("bob@pec.test",),
    reached: tuple[str, ...] = (),
    error: str = "nessuno",
    detail: str | None = None,
) -> str:
    who = "".join(f'<destinatari tipo="certificato">{escape(r)}</destinatari>' for r in recipients)
    element = REACHED.get(kind, "consegna")
    where = "".join(f"<{element}>{escape(r)}</{element}>" for r in reached)
    why = "" if detail is None else f"<errore-esteso>{escape(detail)}</errore-esteso>"
    msgid = "" if about is None else f"<msgid>{escape(about)}</msgid>"
    return (
        f"{XML_HEAD}<postacert tipo={quoteattr(kind)} errore={quoteattr(error)}>"
        f"<intestazione><mittente>app@pec.acme.test</mittente>{who}"
        "<risposte>app@pec.acme.test</risposte><oggetto>Atto n. 7</oggetto></intestazione>"
        "<dati><gestore-emittente>Gestore PEC S.p.A.</gestore-emittente>"
        '<data zona="+0100"><giorno>15/11/2024</giorno><ora>18:20:38</ora></data>'
        f"<identificativo>opec1.20241115@gestore.test</identificativo>{msgid}{where}{why}"
        "</dati></postacert>"
    )


@dataclass(frozen=True)
class PecMail:
    """A mail from a provider. `xml` is the daticert.xml, made from the rest unless it is given."""

    kind: str | None
    about: str | None = "<1@acme.test>"
    recipients: tuple[str, ...] = ("bob@pec.test",)
    reached: tuple[str, ...] = ()
    error: str = "nessuno"
    detail: str | None = None
    own_id: str | None = "<r1@gestore.test>"
    xml: str | bytes | None = ""
    headers: dict[str, str] = field(default_factory=dict)
    original: bytes | None = None
    is_signed: bool = True

    def build(self) -> bytes:
        entity = self.entity()
        if self.is_signed:
            entity = signed(entity)
        return "".join(f"{name}: {value}\r\n" for name, value in self.fields()).encode() + entity

    def fields(self) -> list[tuple[str, str]]:
        title = TITLES.get(self.kind or "", "POSTA CERTIFICATA")
        named = {
            "Return-Path": "<posta-certificata@gestore.test>",
            "X-Riferimento-Message-ID": self.about,
            "Date": "Fri, 15 Nov 2024 18:20:40 +0100",
            "From": "posta-certificata@gestore.test",
            "To": "app@pec.acme.test",
            "Subject": f"{title}: Atto n. 7",
            "X-Ricevuta": self.kind,
            "Message-ID": self.own_id,
            "MIME-Version": "1.0",
            **self.headers,
        }
        return [(name, value) for name, value in named.items() if value is not None]

    def entity(self) -> bytes:
        text = "Content-Type: text/plain; charset=iso-8859-1\r\n\r\nRicevuta di accettazione.\r\n"
        html = "Content-Type: text/html; charset=iso-8859-1\r\n\r\n<h3>Ricevuta</h3>\r\n"
        parts = [multipart("alternative", [text.encode(), html.encode()])]
        if self.xml is not None:
            given = self.xml or daticert(
                self.kind or "", self.about, self.recipients, self.reached, self.error, self.detail
            )
            parts.append(attached_xml(given.encode() if isinstance(given, str) else given))
        if self.original is not None:
            head = b"Content-Type: message/rfc822; name=postacert.eml\r\n\r\n"
            parts.append(head + self.original)
        return multipart("mixed", parts)


def attached_xml(xml: bytes) -> bytes:
    return (
        b'Content-Type: application/xml; name="daticert.xml"\r\n'
        b'Content-Disposition: inline; filename="daticert.xml"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(xml).replace(b"\n", b"\r\n")
    )


def multipart(subtype: str, parts: list[bytes], **params: str) -> bytes:
    """Write a multipart whose boundary is in none of its parts."""
    boundary = f"----{hashlib.sha256(b''.join(parts)).hexdigest()[:32].upper()}"
    line = b"--" + boundary.encode()
    more = "".join(f'; {name}="{value}"' for name, value in params.items())
    head = f'Content-Type: multipart/{subtype}{more};\r\n boundary="{boundary}"\r\n\r\n'
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts)
    return head.encode() + body + line + b"--\r\n"


def signed(entity: bytes) -> bytes:
    signature = (
        b'Content-Type: application/x-pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nMIIfakeA==\r\n"
    )
    protocol = "application/x-pkcs7-signature"
    return multipart("signed", [entity, signature], protocol=protocol, micalg="sha-256")
