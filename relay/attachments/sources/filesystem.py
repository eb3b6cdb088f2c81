"""A file of this machine, beneath a folder that its operator opened to the tenant.

Each step of the way is opened from the folder before it and follows no link, so nothing that is
swapped meanwhile leads elsewhere. Only regular files that have one name are read: a second name may
be of a file outside.
"""

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM
from pathlib import Path, PurePosixPath

from relay.attachments.intake import Intake
from relay.errors import AttachmentGone, AttachmentUnavailable
from relay.model import Tenant
from relay.store.attachments import Waiting

ANY_TENANT = "*"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for the writer of a pipe.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
LASTING = frozenset({EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM})
NOT_ALLOWED = "is not in a folder that the operator allowed"
NOT_THERE = "is no file that can be read"
TROUBLE = "cannot be read for now"


class Filesystem:
    def __init__(self, roots: Mapping[str, Sequence[Path]], timeout_s: float) -> None:
        """`roots` are the folders of each tenant, and under "*" those of every tenant."""
        self._roots = roots
        self._timeout_s = timeout_s

    async def fetch(self, tenant: Tenant, wanted: Waiting, intake: Intake) -> None:
        roots = [*self._roots.get(tenant.id, ()), *self._roots.get(ANY_TENANT, ())]
        root, steps = way(wanted.source, roots)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.to_thread(read, root, steps, intake)
        except TimeoutError:
            raise AttachmentUnavailable(TROUBLE) from None


def way(source: str, roots: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """Return the root that a path is in, and the steps from there. Raises AttachmentGone."""
    path = PurePosixPath(source)
    if ".." in path.parts or "\0" in source:
        raise AttachmentGone(NOT_ALLOWED)
    for root in roots:
        if path.is_relative_to(root) and path.parts != root.parts:
            return root, path.relative_to(root).parts
    raise AttachmentGone(NOT_ALLOWED)


def read(root: Path, steps: Sequence[str], intake: Intake) -> None:
    """Copy a file into the intake; blocks the thread."""
    with ExitStack() as opened:
        try:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            # The operator named it, so it is there when its disk is.
            raise AttachmentUnavailable(TROUBLE) from error
        opened.callback(os.close, folder)
        try:
            for step in steps[:-1]:
                folder = os.open(step, FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            file = os.open(steps[-1], FILE, dir_fd=folder)
            opened.callback(os.close, file)
            copy(file, intake)
        except OSError as error:
            if error.errno in LASTING:
                raise AttachmentGone(NOT_THERE) from error
            raise AttachmentUnavailable(TROUBLE) from error


def copy(file: int, intake: Intake) -> None:
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise AttachmentGone(NOT_THERE)
    intake.check_size(facts.st_size)
    with os.fdopen(os.dup(file), "rb") as stream:
        intake.take_all(stream)
