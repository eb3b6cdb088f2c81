"""Where a list goes on: an opaque text that names the last item given.

A cursor is only a place in an order. Whose items follow is decided by the token, so one that was
taken from another tenant shows nothing of it.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from admin_api.problems import invalid

T = TypeVar("T")

_VERSION = "1:"


def encode(last: str) -> str:
    return base64.urlsafe_b64encode((_VERSION + last).encode()).decode().rstrip("=")


def decode(cursor: str | None, *, name: str = "cursor") -> str:
    """Return the item to go on after, "" for the start. Raises 422 for what we did not make; `name`
    is the parameter that it was given in.
    """
    if cursor is None:
        return ""
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_VERSION):
        raise invalid("query", "not a cursor of this list", name)
    return text.removeprefix(_VERSION)


def cut(
    items: Sequence[T], key: Callable[[T], str], limit: int | None, cursor: str | None
) -> tuple[list[T], str | None]:
    """Cut one page out of a short list, in the order of `key`; the cursor is None on the last."""
    after = decode(cursor)
    rest = sorted((item for item in items if key(item) > after), key=key)
    if limit is None or len(rest) <= limit:
        return rest, None
    return rest[:limit], encode(key(rest[limit - 1]))
