"""Large mail searched and copied in slices, by generators: each `yield` is a moment to let others
go on.

A slice takes a fraction of a millisecond, whatever is in it; a copy costs as much as a search, as
its memory is new. What is no longer than a slice is done at once, without a yield.
"""

import io
from collections.abc import Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

SLICE_BYTES = 131_072


def at_once(steps: Steps[T]) -> T:
    """Take all steps, for those who need not let others go on."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        value: T = stop.value
        return value


def finding(content: bytes, what: bytes, start: int = 0) -> Steps[int]:
    """Find as `content.find(what, start)` does."""
    for at in range(start, len(content), SLICE_BYTES):
        found = content.find(what, at, at + SLICE_BYTES + len(what) - 1)
        if found >= 0:
            return found
        yield
    return -1


def replacing(content: bytes, old: bytes, new: bytes) -> Steps[bytes]:
    """Replace as `content.replace(old, new)` does; no two of `old` may overlap."""
    if len(content) <= SLICE_BYTES:
        return content.replace(old, new)
    at = yield from finding(content, old)
    if at < 0:
        return content
    # A buffer that grows in place: joining a list would hold everything twice.
    replaced = io.BytesIO()
    yield from _writing(replaced, memoryview(content)[:at])
    while at < len(content):
        end = cut(content, at + SLICE_BYTES, old)
        replaced.write(content[at:end].replace(old, new))
        at = end
        yield
    return replaced.getvalue()


def joining(pieces: Sequence[bytes | memoryview]) -> Steps[bytes]:
    """Join as `b"".join(pieces)` does."""
    if sum(map(len, pieces)) <= SLICE_BYTES:
        return b"".join(pieces)
    joined = io.BytesIO()
    for piece in pieces:
        yield from _writing(joined, memoryview(piece))
    return joined.getvalue()


def _writing(buffer: io.BytesIO, view: memoryview) -> Steps[None]:
    for at in range(0, len(view), SLICE_BYTES):
        buffer.write(view[at : at + SLICE_BYTES])
        yield


def cut(content: bytes, at: int, whole: bytes) -> int:
    """Return where to cut, near `at`, so that no `whole` is cut in two."""
    straddling = content.find(whole, at - len(whole) + 1, at + len(whole) - 1)
    return at if straddling < 0 else straddling
