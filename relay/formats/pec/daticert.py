"""`daticert.xml`: what a provider certifies (technical rules of 2 November 2005, §7.4).

The file came with a stranger's mail: it is read without a DTD, so without entities of any kind
(whoever declares one is not read at all), up to a bounded size, and never asks for another file.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn
from xml.parsers import expat

from relay.formats.characters import without_forbidden

FILE_NAME = "daticert.xml"
MAX_BYTES = 1_048_576
MAX_DEPTH = 16
TEXT_MAX_CHARS = 1000
MAX_ELEMENTS = 20_000

Path = tuple[str, ...]
_ROOT: Path = ("postacert",)
_DATA: Path = (*_ROOT, "dati")
_TIME: Path = (*_DATA, "data")


class NotCertified(ValueError):
    """It is no `daticert.xml`, or one that is not safe to read."""


@dataclass(frozen=True, slots=True)
class Certified:
    """What is in the file, as written there: `kind` and `error` in the norm's words.

    `recipients` are all of the message, `reached` those that this file speaks of, if it does.
    """

    kind: str
    error: str
    recipients: tuple[str, ...]
    reached: tuple[str, ...]
    message_id: str | None
    provider: str | None
    provider_id: str | None
    detail: str | None
    at: float | None


def read_daticert(data: bytes) -> Certified:
    """Read the file. Raises NotCertified."""
    if len(data) > MAX_BYTES:
        raise NotCertified
    elements = _Elements()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    # Whatever an entity stands for, inside or outside of the file, only a DTD can declare it.
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = elements.start
    parser.EndElementHandler = elements.end
    parser.CharacterDataHandler = elements.text
    try:
        parser.Parse(data.strip(), True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise NotCertified from error
    return elements.certified()


def _refuse(*_declared: object) -> NoReturn:
    raise NotCertified


@dataclass(slots=True)
class _Elements:
    """The texts and the first attributes met so far, by the path of their element."""

    _path: list[str] = field(default_factory=list)
    _texts: dict[Path, list[str]] = field(default_factory=dict)
    _attributes: dict[Path, dict[str, str]] = field(default_factory=dict)
    _count: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        # A prefix names a space that the norm does not have.
        self._path.append(name.rpartition(":")[2].lower())
        self._count += 1
        if len(self._path) > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise NotCertified
        path = tuple(self._path)
        self._attributes.setdefault(path, attributes)
        self._texts.setdefault(path, []).append("")

    def end(self, _name: str) -> None:
        self._path.pop()

    def text(self, text: str) -> None:
        texts = self._texts[tuple(self._path)]
        texts[-1] = (texts[-1] + text)[:TEXT_MAX_CHARS]

    def certified(self) -> Certified:
        about = self._attributes.get(_ROOT)
        if about is None:
            raise NotCertified
        return Certified(
            kind=about.get("tipo", ""),
            error=about.get("errore", ""),
            recipients=self._all((*_ROOT, "intestazione", "destinatari")),
            reached=self._all((*_DATA, "consegna")) or self._all((*_DATA, "ricezione")),
            message_id=self._first((*_DATA, "msgid")),
            provider=self._first((*_DATA, "gestore-emittente")),
            provider_id=self._first((*_DATA, "identificativo")),
            detail=self._first((*_DATA, "errore-esteso")),
            at=self._time(),
        )

    def _all(self, path: Path) -> tuple[str, ...]:
        found = (" ".join(without_forbidden(t).split()) for t in self._texts.get(path, ()))
        return tuple(text for text in found if text)

    def _first(self, path: Path) -> str | None:
        return next(iter(self._all(path)), None)

    def _time(self) -> float | None:
        day, hour = self._first((*_TIME, "giorno")), self._first((*_TIME, "ora"))
        zone = self._attributes.get(_TIME, {}).get("zona", "")
        try:
            return datetime.strptime(f"{day} {hour} {zone}", "%d/%m/%Y %H:%M:%S %z").timestamp()
        except (ValueError, OverflowError):
            return None
