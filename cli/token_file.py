"""The admin token that is kept in the instance folder: nodes that run take up a new one at once."""

from collections.abc import Callable
from pathlib import Path

from cli.private_file import replace_private
from relay.config import Config
from relay.crypto import digest, new_secret

NAME = "api_token"


def token_watch(config: Config) -> Callable[[], str] | None:
    """Return what gives the digest of the token; None where it is not kept in the instance."""
    path = config.instance_dir / NAME
    token = config.http.api_token
    if token is None or config.origins["http.api_token"] != str(path):
        return None
    return TokenFile(path, digest(token.get_secret_value())).digest


class TokenFile:
    def __init__(self, path: Path, known: str) -> None:
        self._path = path
        self._known = known
        self._stamp = stamp_of(path)

    def digest(self) -> str:
        """Return the digest of the token; the file is read when it is another than before."""
        stamp = stamp_of(self._path)
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            self._known = digest(self._path.read_text(encoding="ascii").strip())
        return self._known


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Return what a file that was put in the place of another differs by."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def replace_token(folder: Path) -> str:
    """Put a new token in the place of the one that is kept, whole and synced; return it."""
    token = new_secret()
    replace_private(folder / NAME, token)
    return token
