"""Which kind of file system a path lies on."""

from pathlib import Path

import pytest

from relay.store.file_system import kind_of, network_kind

MOUNTS = r"""22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:26 / /srv rw - nfs4 files:/srv rw
31 30 0:27 / /srv/local rw,relatime - xfs /dev/vdb rw
32 22 0:28 / /mnt/my\040share rw - cifs //host/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/pillarbox", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/mail", "nfs4"),
        ("/srvice", "ext4"),
        ("/srv/local/mail", "xfs"),
        ("/mnt/my share/x", "cifs"),
    ],
)
def test_a_path_lies_on_the_innermost_mount_above_it(path: str, kind: str) -> None:
    assert kind_of(path, MOUNTS) == kind


def test_only_a_network_file_system_is_named(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_kind(Path("/srv/mail"), mounts) == "nfs4"
    assert network_kind(Path("/srv/local/mail"), mounts) is None
    assert network_kind(tmp_path, tmp_path / "none") is None
