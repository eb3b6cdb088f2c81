"""A storage URL read: `s3://`, `gs://`, `az://`, `file://`.

    s3://[key:secret@]bucket/folder?endpoint=&region=&session_token=
    gs://bucket/folder?service_account_key=
    az://[account[:key]@]container/folder?endpoint=
    file:///folder

What a URL does not say comes from the usual variables of each cloud. A login in a URL is
percent-encoded there (RFC 3986 §2.1). `masked` is the URL without what is secret. Pure.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

MASK = "***"
URL_MAX_CHARS = 8192
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,221}")
_FOLDER = re.compile(r"[A-Za-z0-9._=@+ -]+(?:/[A-Za-z0-9._=@+ -]+)*")
_SECRET_OPTIONS = frozenset({"service_account_key", "session_token"})


class Scheme(StrEnum):
    S3 = "s3"
    GS = "gs"
    AZ = "az"
    FILE = "file"


_OPTIONS = {
    Scheme.S3: frozenset({"endpoint", "region", "session_token"}),
    Scheme.GS: frozenset({"service_account_key"}),
    Scheme.AZ: frozenset({"endpoint"}),
    Scheme.FILE: frozenset[str](),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where files go. `bucket` is S3's and Google's bucket or Azure's container, "" for files;
    `folder` is inside it, without slashes at its ends, or the path of a local folder.
    """

    scheme: Scheme
    bucket: str
    folder: str
    user: str | None = None
    secret: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def option(self, name: str) -> str | None:
        return dict(self.options).get(name)

    @property
    def has_login(self) -> bool:
        return self.secret is not None or any(name in _SECRET_OPTIONS for name, _ in self.options)

    def blot(self, text: str) -> str:
        """Take what is secret out of a text: some servers repeat what they were sent."""
        secrets = [self.secret, *(v for n, v in self.options if n in _SECRET_OPTIONS)]
        for secret in filter(None, secrets):
            text = text.replace(secret, MASK)
        return text

    @property
    def masked(self) -> str:
        """The URL, with asterisks for what is secret; always the same for the same place."""
        user = "" if self.user is None else quote(self.user, safe="")
        secret = "" if self.secret is None else f":{MASK}"
        login = f"{user}{secret}@" if user else ""
        shown = [(n, MASK if n in _SECRET_OPTIONS else v) for n, v in self.options]
        query = f"?{urlencode(shown, safe='*:/')}" if shown else ""
        path = f"/{quote(self.folder.strip('/'))}" if self.folder else ""
        return f"{self.scheme}://{login}{self.bucket}{path}{query}"

    @property
    def without_login(self) -> "Place":
        """The place itself, whoever logs in there; an Azure account is part of where it is."""
        user = self.user if self.scheme is Scheme.AZ else None
        options = tuple((n, v) for n, v in self.options if n not in _SECRET_OPTIONS)
        return Place(self.scheme, self.bucket, self.folder, user, None, options)


def read_place(url: str) -> Place:
    """Read a storage URL. Raises ValueError with a text that repeats no secret."""
    if len(url) > URL_MAX_CHARS or not url.isprintable():
        raise ValueError("a URL of printable characters is expected")
    try:
        parts = urlsplit(url)
        scheme = Scheme(parts.scheme)
        options = tuple(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        if "?" in url and url.split("?", 1)[0].partition("://")[0] in set(Scheme):
            raise ValueError("what follows ? is not understood") from None
        raise ValueError("s3://, gs://, az:// or file:// is expected") from None
    _check_options(scheme, options)
    if scheme is Scheme.FILE:
        return Place(scheme, "", _local_folder(parts.netloc, parts.path))
    login, _, bucket = parts.netloc.rpartition("@")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("the name of a bucket or container is expected after ://")
    folder = unquote(parts.path).strip("/")
    if folder and not _FOLDER.fullmatch(folder):
        raise ValueError("a folder of plain ASCII names is expected after the bucket")
    user, secret = _login(scheme, login)
    return Place(scheme, bucket, folder, user, secret, options)


def _login(scheme: Scheme, login: str) -> tuple[str | None, str | None]:
    if not login:
        return None, None
    user, _, secret = login.partition(":")
    needs_secret = scheme is not Scheme.AZ
    if scheme is Scheme.GS or not user or (needs_secret and not secret):
        raise ValueError("a login is user:secret@, and gs:// takes service_account_key instead")
    return unquote(user), unquote(secret) or None


def _local_folder(host: str, path: str) -> str:
    # Two slashes at the start of a path may mean something else (POSIX §4.13).
    folder = PurePosixPath("/" + unquote(path).lstrip("/"))
    is_absolute = not host and path.startswith("/")
    if not is_absolute or len(folder.parts) < 2 or ".." in folder.parts:
        raise ValueError("an absolute folder is expected: file:///var/lib/files")
    return str(folder)


def _check_options(scheme: Scheme, options: tuple[tuple[str, str], ...]) -> None:
    for name, value in options:
        if name not in _OPTIONS[scheme]:
            raise ValueError(f"{scheme}:// has no option {name[:40]}")
        if name == "endpoint" and not value.startswith(("http://", "https://")):
            raise ValueError("endpoint: a URL with http:// or https:// is expected")
    if len({name for name, _ in options}) < len(options):
        raise ValueError("an option is given twice")
