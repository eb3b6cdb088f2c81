"""What kind of file system a file lies on: SQLite's locks and syncs hold on a local one only."""

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gpfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph"),
    }
)


def network_kind(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the name of the network file system that a path lies on; None for a local one, or
    where the system does not say.
    """
    try:
        kind = kind_of(os.path.realpath(path), mounts.read_text(errors="replace"))
    except OSError:
        return None
    return kind if kind in NETWORK else None


def kind_of(path: str, mounts: str) -> str:
    """Return the type of the last mount that a path is under (proc_pid_mountinfo(5))."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = unescaped(fields.split(" ")[4])
        is_under = path == point or path.startswith(point.rstrip("/") + "/")
        if is_under and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return kind


def unescaped(point: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, char)
    return point
