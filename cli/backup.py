"""`pillarbox NAME backup FILE`: a copy of the embedded database, while mail goes on."""

import os
from pathlib import Path

import click

from cli.client import Api
from cli.failure import Failure
from cli.output import note
from cli.place import Place
from cli.reach import reach


@click.command(short_help="Copy the embedded database while mail goes on.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(place: Place, file: Path) -> None:
    """Copy the embedded database as it is at one moment, whole and checked, to a new FILE.

    To go back, stop the instance and put the copy in the place of pillarbox.db, without its -wal
    and -shm. Mail that was sent since then is sent again.
    """
    if file.exists():
        raise Failure(f"{file} exists already: it is not overwritten")
    with reach(place) as api:
        size_bytes = download(api, file)
    note(f"{file}: {size_bytes:,} bytes. The key that its secrets are sealed with is not in it:")
    note(f"keep a copy of {place.instance.folder / 'encryption_key'} apart")


def download(api: Api, file: Path) -> int:
    """Write the copy under another name first, so that a file of this name is whole."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as copy, api.download("/instance/backup") as pieces:
            for piece in pieces:
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        os.link(part, file)  # fails where somebody made the file meanwhile
        return file.stat().st_size
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
