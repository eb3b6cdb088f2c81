"""Secrets that are known when they are seen, and what looks for them.

A canary is planted as a secret of one kind; whatever comes out of a relay is kept with its place
and searched for each of them, as it is and in every form that it travels in.
"""

import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# So much of one is one: what is cut is a leak all the same.
TELLING_CHARS = 12


@dataclass(frozen=True, slots=True)
class Canary:
    """`text` has 32 characters that are nowhere else."""

    name: str
    text: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def base64(self) -> str:
        return b64encode(self.text.encode()).decode()

    def forms(self) -> Iterator[str]:
        """Give what betrays it: its ends, and all of it in the encodings that secrets travel in."""
        yield self.text[:TELLING_CHARS]
        yield self.text[-TELLING_CHARS:]
        yield self.text.encode().hex()
        for before in range(3):
            # As a part of something longer, such as `user:password`, it is encoded three ways.
            around = b"x" * before + self.text.encode() + b"x" * 3
            for encoded in (b64encode(around), urlsafe_b64encode(around)):
                yield encoded.decode()[4:36]


@dataclass
class Outputs:
    """All that came out, by its place."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, text: str | bytes) -> None:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        self.texts.append((place, shown))

    def places(self, name: str) -> list[str]:
        return [place for place, _ in self.texts if place.startswith(name)]

    def leaks(
        self, canaries: Mapping[str, Canary], shown_at: Mapping[str, str]
    ) -> list[tuple[str, str, str]]:
        """Return each canary with the place and the words that it was found in. `shown_at` has the
        places, as patterns, where some may be seen.
        """
        return [
            (name, place, around(text, form))
            for place, text in self.texts
            for name, canary in canaries.items()
            if not (name in shown_at and re.search(shown_at[name], place))
            for form in canary.forms()
            if form.lower() in text.lower()
        ]


def around(text: str, form: str) -> str:
    at = text.lower().index(form.lower())
    return text[max(0, at - 80) : at + 80]
