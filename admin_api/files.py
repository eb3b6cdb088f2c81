"""From the files of a JSON message to the parts of a mail and the rows of the store. Pure.

Nothing that is too big is decoded: base64 tells its size by its length. What is wrong is refused
with the place it stands at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from admin_api.schemas.attachment import Attachment, InlineImage
from relay.errors import Refused
from relay.formats import attachment as read
from relay.formats.characters import has_forbidden
from relay.formats.compose import Attachment as Part
from relay.formats.compose import Gap
from relay.model import FetchMode, NewAttachment
from relay.net.url import UnusableUrlError, parse
from relay.store.attachments import Given
from relay.value import frozen

PATH_MAX_CHARS = 8192
# These ask a server, which may want a login.
_ASKED = frozenset({FetchMode.HTTP_URL, FetchMode.ENDPOINT})


@frozen
class Room:
    """How much a message may bring."""

    max_files: int = 100
    max_bytes: int = 26_214_400


@frozen
class Files:
    """The files of one message; the n-th of `given` is the n-th of `inline` and `attachments`."""

    inline: tuple[Part, ...] = ()
    attachments: tuple[Part, ...] = ()
    given: tuple[Given, ...] = ()

    def placed(self, gaps: Sequence[Gap]) -> tuple[Given, ...]:
        """Say where in the mail each is that it lacks."""
        if not self.given:
            return ()
        places = {gap.n: gap.from_end_bytes for gap in gaps}
        return tuple(
            replace(
                one, attachment=replace(one.attachment, from_end_bytes=places.get(one.attachment.n))
            )
            for one in self.given
        )


NO_FILES = Files()


def read_files(
    inline: Sequence[InlineImage], attachments: Sequence[Attachment], room: Room
) -> Files:
    """Check and decode. Raises Refused."""
    if not inline and not attachments:
        return NO_FILES
    if len(inline) + len(attachments) > room.max_files:
        raise Refused(f"attachments: at most {room.max_files} files are accepted")
    _check_size([*inline, *attachments], room)
    read_in = [*_read("inline", inline, 0), *_read("attachments", attachments, len(inline))]
    parts = [part for part, _ in read_in]
    return Files(
        tuple(parts[: len(inline)]), tuple(parts[len(inline) :]), tuple(g for _, g in read_in)
    )


def encoded_chars(item: Mapping[str, object]) -> int:
    """Return how much text the files of a message bring, before anything of it is checked."""
    if "inline" not in item and "attachments" not in item:
        return 0
    lists = [item.get("inline"), item.get("attachments")]
    files = [file for files in lists if isinstance(files, list) for file in files]
    paths = [file.get("storage_path") for file in files if isinstance(file, dict)]
    return sum(len(path) for path in paths if isinstance(path, str))


def _check_size(files: Sequence[Attachment], room: Room) -> None:
    sizes = [read.decoded_size(_encoded(file)) for file in files if _mode(file) is FetchMode.BASE64]
    if sum(sizes) > room.max_bytes:
        raise Refused("the message is too large", reason="too large", code=552, enhanced="5.3.4")


def _read(place: str, files: Sequence[Attachment], first: int) -> Iterator[tuple[Part, Given]]:
    for at, file in enumerate(files):
        try:
            yield _one(file, first + at)
        except Refused as refused:
            raise Refused(f"{place}.{at}: {refused}", reason=refused.reason) from None


def _one(file: Attachment, n: int) -> tuple[Part, Given]:
    name, marked = read.without_marker(file.filename)
    mode = _mode(file)
    data = _decoded(file) if mode is FetchMode.BASE64 else None
    if data is None:
        _check_path(mode, file.storage_path)
    content_id = None
    if isinstance(file, InlineImage):
        content_id = file.content_id.removeprefix("<").removesuffix(">")
    mime_type = file.mime_type or read.mime_type_of(name)
    row = NewAttachment(
        n=n,
        mode=mode,
        filename=name,
        mime_type=mime_type,
        disposition="attachment" if content_id is None else "inline",
        content_id=content_id,
        source=file.storage_path if data is None else None,
        md5=file.content_md5 or marked,
        size_bytes=None if data is None else len(data),
        sha256=None if data is None else sha256(data).hexdigest(),
    )
    wants_login = file.auth is not None and mode in _ASKED
    auth = file.auth.model_dump(exclude_none=True) if file.auth and wants_login else None
    return Part(name, mime_type, data, content_id), Given(row, auth)


def _mode(file: Attachment) -> FetchMode:
    return file.fetch_mode or read.fetch_mode(file.storage_path)


def _encoded(file: Attachment) -> str:
    return file.storage_path.removeprefix(read.BASE64_MARK)


def _decoded(file: Attachment) -> bytes:
    try:
        return read.decode_base64(_encoded(file))
    except Refused as refused:
        raise Refused(f"storage_path: {refused}") from None


def _check_path(mode: FetchMode, path: str) -> None:
    if not path or len(path) > PATH_MAX_CHARS or has_forbidden(path):
        raise Refused(f"storage_path: 1 to {PATH_MAX_CHARS} characters, no controls among them")
    if mode is FetchMode.FILESYSTEM and not path.startswith("/"):
        raise Refused("storage_path: a path from / on is expected")
    if mode is FetchMode.HTTP_URL:
        try:
            parse(path)
        except UnusableUrlError as error:
            raise Refused(f"storage_path: {error}") from None
