"""Small disks of a test's own, in memory, to be filled: by root only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """`place` is what lies on it: the "store" of the house (of PostgreSQL, all that it has), or
    the home, the log and the cache of "node0".
    """

    size_bytes: int
    place: str = "store"
    inodes: int = 0

    @contextmanager
    def at(self, folder: Path) -> Iterator[Path]:
        """Mount it, until the end of the block."""
        folder.mkdir(parents=True, exist_ok=True)
        owner, mode = folder.stat(), oct(folder.stat().st_mode & 0o777)[2:]
        options = f"size={self.size_bytes},mode={mode}"
        if self.inodes:
            options += f",nr_inodes={self.inodes}"
        _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        try:
            os.chown(folder, owner.st_uid, owner.st_gid)
            yield folder
        finally:
            # What still has a file open there, has it for itself.
            _run("umount", "--lazy", str(folder))


def why_not() -> str | None:
    """Say why no disk can be mounted here, None where one can."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    return None if shutil.which("mount") else "no mount program"


def remount(folder: Path, option: str) -> None:
    """Make it read-only ("ro") or writable ("rw")."""
    _run("mount", "-o", f"remount,{option}", str(folder))


def fill(folder: Path, name: str = "foreign", leave_bytes: int = 0) -> None:
    """Take what is free, but for so much, as a program would that writes and writes."""
    with (folder / name).open("ab", buffering=0) as file:
        while (left := shutil.disk_usage(folder).free - leave_bytes) > 0:
            try:
                file.write(bytes(min(left, MEBIBYTE)))
            except OSError:
                return


def take_inodes(folder: Path) -> None:
    """Make files until there can be no more."""
    number = 0
    while True:
        try:
            (folder / f"foreign{number}").touch()
        except OSError:
            return
        number += 1


def clear(folder: Path) -> None:
    """Take the foreign files away."""
    for path in folder.glob("foreign*"):
        path.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
