"""JSON that we wrote ourselves, read back from the store.

One damaged row must not hide the rows beside it, nor keep its mail from being told of: what cannot
be read is read as empty. Pure.
"""

import json


def object_in(text: str | None) -> dict[str, object]:
    value = value_in(text)
    return value if isinstance(value, dict) else {}


def objects_in(text: str | None) -> list[dict[str, object]]:
    value = value_in(text)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def value_in(text: str | None) -> object:
    try:
        value: object = json.loads(text or "null")
    except (ValueError, TypeError, RecursionError):
        return None
    return value
