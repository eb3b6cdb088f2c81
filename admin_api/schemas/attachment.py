"""Files that go with a message: as they are given, as they are shown."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from admin_api.schemas.model import Model, Text
from admin_api.schemas.tenant import ClientAuth
from relay.model import FetchMode

Md5 = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$"), AfterValidator(lambda text: text.lower())
]


class Attachment(Model):
    """A file. What must be fetched is fetched once, when its message is first due and its account
    may send.
    """

    filename: Annotated[Text, StringConstraints(min_length=1, max_length=1024)]
    """As the reader sees it. `{MD5:…}` in it is taken out, and means the same as `content_md5`."""
    storage_path: str
    """Where it is: `base64:…`, a URL with http or https, `/…` beneath a folder that the operator
    allowed, or anything else, which the tenant's own server is asked for.
    """
    mime_type: Text | None = None
    """Without it, what the name says."""
    fetch_mode: FetchMode | None = None
    """How to read `storage_path`; without it, as described there."""
    content_md5: Md5 | None = None
    """A file that was fetched and had this MD5 may be used again for a while."""
    auth: ClientAuth | None = None
    """The login to fetch this file with. The tenant's own goes to the tenant's own server only."""


class InlineImage(Attachment):
    """A file that the HTML shows: `<img src="cid:…">`."""

    content_id: Annotated[Text, StringConstraints(min_length=1)]
    """What follows `cid:`."""


class AttachmentRecord(Model):
    """What became of a file."""

    filename: str
    mime_type: str
    fetch_mode: Literal["base64", "http_url", "filesystem", "endpoint", "content"]
    """`content` is a part of a mail that came whole."""
    status: Literal["waiting", "inserted", "linked"]
    """`waiting` is not fetched yet; `linked` is a link in the mail, not in it."""
    size_bytes: int | None
    sha256: str | None
    cache: Literal["hit", "miss"] | None
    """None where it was given, or is not fetched yet."""
    link: str | None
    link_expires_ts: Annotated[int, Field(ge=0)] | None
