"""A mail as its reader sees it: what a client was told to send, held against what arrived.

It has what clients and relays trip over: dots at the start of lines, a line too long for SMTP,
letters outside ASCII in each place that can have them, every octet in the attached file.
"""

from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Letter:
    """`html` is "" where there is none; `files` are names with contents."""

    subject: str
    text: str
    html: str = ""
    files: tuple[tuple[str, bytes], ...] = ()

    def save_files(self, folder: Path) -> list[str]:
        """Write the attached files; return their paths."""
        paths = [folder / name for name, _ in self.files]
        for path, (_, content) in zip(paths, self.files, strict=True):
            path.write_bytes(content)
        return [str(path) for path in paths]


LETTER = Letter(
    subject="Ihre Übersicht 你好 😀",
    text=f".one\n..\n.\nGrüße €\n{'x' * 1200}\nend",
    html=f"<p>Grüße &amp; <b>€</b></p>\n.\n<p>{'y' * 1200}</p>",
    files=(("Übersicht.bin", bytes(range(256)) * 8 + b"\r\n.\r\n\n\r"),),
)


def read(content: bytes) -> Letter:
    """Read a mail; line ends are "\\n", and what ends the last line of a text is left out."""
    message = message_from_bytes(content, policy=policy.default)
    text, html = (message.get_body(preferencelist=[kind]) for kind in ("plain", "html"))
    return Letter(
        subject=header(message, "Subject"),
        text=text_of(text),
        html=text_of(html),
        files=tuple(
            (part.get_filename("").strip(), part.get_content())
            for part in message.iter_attachments()
        )
        if message.is_multipart()
        else (),
    )


def header(message: EmailMessage, name: str) -> str:
    """Read a header that may be in UTF-8 as it is (RFC 6532), which the parser alone spoils."""
    raw = dict(message.raw_items())[name]
    return str(policy.default.header_factory(name, utf8(raw)))


def text_of(part: MIMEPart | None) -> str:
    if part is None:
        return ""
    return "\n".join(part.get_content().splitlines())


def utf8(raw: str) -> str:
    return raw.encode("ascii", "surrogateescape").decode()
