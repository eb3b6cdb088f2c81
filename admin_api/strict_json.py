"""JSON as RFC 8259 means it, and nothing that another reader would read differently.

Refused: a key given twice, NaN and Infinity, numbers too large to be one, NUL and half a surrogate
pair in a text, nesting without end, invalid UTF-8. The scan is C code; only a document with a
suspicious escape is walked again.
"""

import json
import math
import re
from collections.abc import Generator
from typing import NoReturn

from relay.errors import Permanent

_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_FIRST_LIST = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"([a-z_]+)"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*')
_AFTER_ELEMENT = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")
_AFTER_LIST = re.compile(r"[ \t\n\r]*(,|(?=\}))")
STEP_BYTES = 1_048_576
# More of them are small, and read faster all at once.
MOST_ELEMENTS = 10_000

Path = tuple[str | int, ...]


class InvalidJson(Permanent):
    """`path` says where, as far as it is known."""

    def __init__(self, what: str, path: Path = ()) -> None:
        super().__init__(what)
        self.path = path


def loads(data: bytes) -> object:
    """Return the value. Raises InvalidJson, whose text repeats nothing of the document but keys."""
    try:
        value: object = _decoder.decode(data.decode())
    except UnicodeDecodeError as error:
        raise InvalidJson(f"invalid UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"invalid JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise InvalidJson("nested too deeply") from None
    except ValueError:
        raise InvalidJson("a number is too large") from None
    if _SUSPICIOUS.search(data):
        _check_texts(value)
    return value


def reading(data: bytes, name: str) -> Generator[None, None, object]:
    """Do as `loads` does, in steps where there is much: between the elements of the list that is
    the document's first member, `name`.
    """
    if len(data) > STEP_BYTES:
        try:
            text = data.decode()
            yield
            value = yield from _members(text, name)
        except (ValueError, RecursionError):
            value = None  # and `loads` says why
        if value is not None:
            yield
            if _SUSPICIOUS.search(data):
                _check_texts(value)
            return value
    return loads(data)


def dumps(value: object) -> str:
    """Return compact JSON. Raises ValueError for what is no JSON."""
    return _encode(value)


def _members(text: str, name: str) -> Generator[None, None, dict[str, object] | None]:
    """Return an object, None where it is not of the shape that can be read in steps."""
    found = _FIRST_LIST.match(text)
    if found is None or found[1] != name:
        return None
    elements: list[object] = []
    is_more, rest_at = True, STEP_BYTES
    while is_more:
        if len(elements) == MOST_ELEMENTS:
            return None
        element, at = _decoder.raw_decode(text, found.end())
        elements.append(element)
        found = _AFTER_ELEMENT.match(text, at)
        if found is None:
            return None
        is_more = found[1] == ","
        if at >= rest_at:
            rest_at = at + STEP_BYTES
            yield
    return _with_rest({name: elements}, text[found.end() :])


def _with_rest(first: dict[str, object], text: str) -> dict[str, object] | None:
    """Add the members that come after the first one."""
    after = _AFTER_LIST.match(text)
    if after is None:
        return None
    rest: dict[str, object] = _decoder.decode("{" + text[after.end() :])
    is_clean = first.keys().isdisjoint(rest) and bool(rest) == (after[1] == ",")
    return first | rest if is_clean else None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidJson(f"the key {twice[:80]!a} is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidJson("a number is too large")
    return number


def _check_texts(value: object) -> None:
    todo: list[tuple[Path, object]] = [((), value)]
    while todo:
        path, item = todo.pop()
        if isinstance(item, str):
            _check_text(item, path)
        elif isinstance(item, list):
            todo += [((*path, place), child) for place, child in enumerate(item)]
        elif isinstance(item, dict):
            for key, child in item.items():
                _check_text(key, path)
                todo.append(((*path, key), child))


def _check_text(text: str, path: Path) -> None:
    if "\0" in text:
        raise InvalidJson("NUL in a text", path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidJson("half a surrogate pair in a text", path) from None


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
