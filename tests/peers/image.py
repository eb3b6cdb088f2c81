"""The container image, built by buildah and run as a container runtime would run it.

No registry is asked: what stands in for the official python image is a Debian of the same release
with its Python, made by debootstrap and kept for the next run. A container is a process in mount
and PID namespaces of its own, on a root that cannot be written to, as the user that the image
names; it shares the network of this machine.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
TAG = "localhost/pillarbox:test"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pillarbox-ci"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
TRIES = 3
# Inside the new namespaces, as root: root folder, data folder, user, then the command.
ENTER = """
set -e
root=$1 data=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


class NoBaseError(Exception):
    """Debian's mirror could not be reached."""


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def base_archive() -> Path:
    """Return what the image is built on, as an archive of files. Raises NoBaseError."""
    archive = CACHE / "bookworm-python.tar"
    if archive.exists():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"bookworm-{os.getpid()}"
    try:
        debootstrap(folder)
        like_the_official_one(folder)
        part = CACHE / f"bookworm-{os.getpid()}.tar"
        run("tar", "--create", "--file", str(part), "--numeric-owner", "-C", str(folder), ".")
        part.rename(archive)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return archive


def debootstrap(folder: Path) -> None:
    """Make a small Debian in a folder. A mirror that fails is asked again."""
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        done = subprocess.run(
            [*command, str(folder), MIRROR], capture_output=True, text=True, check=False
        )
        if not done.returncode:
            return
    raise NoBaseError(done.stdout[-2000:] + done.stderr[-2000:])


def like_the_official_one(root: Path) -> None:
    """Have `python` and `pip` where they are in the official image, and trust whom we trust."""
    for name in ("python", "pip"):
        (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{name}3")
    for mark in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        mark.unlink()
    shutil.copy(AUTHORITIES, root / AUTHORITIES.relative_to("/"))
    (root / "etc/pip.conf").write_text(f"[global]\ncert = {AUTHORITIES}\n")


@dataclass(frozen=True, slots=True)
class Image:
    """`config` is what the image says of itself; `root` its files, not to be written to."""

    config: Mapping[str, Any]
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Build the image, and remove all of it in the end. Raises NoBaseError."""
    archive = base_archive()
    buildah = ["buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    buildah += ["--storage-driver", "vfs"]
    try:
        base = run(*buildah, "from", "scratch").strip()
        run(*buildah, "add", "--quiet", base, str(archive), "/")
        run(*buildah, "commit", "--quiet", base, BASE)
        options = ["--isolation", "chroot", "--format", "docker", "--pull-never"]
        run(*buildah, "bud", *options, "--network", "host", "--tag", TAG, ".", cwd=ROOT)
        container = run(*buildah, "from", "--pull-never", TAG).strip()
        root = Path(run(*buildah, "mount", container).strip())
        about = json.loads(run(*buildah, "inspect", "--type", "image", TAG))
        yield Image(about["Docker"]["config"], root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Container:
    """The image's own command, running; `environment` is added to the image's."""

    def __init__(self, image: Image, data: Path, **environment: str) -> None:
        self._image = image
        self._environment = {**image.environment, **environment}
        self._data = data
        self._log = data.parent / "container.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._data.mkdir(mode=0o700, exist_ok=True)
        user, group = self._image.config["User"].split(":")
        os.chown(self._data, int(user), int(group))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._entering(self._image.command), stdout=log, stderr=log
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _entering(self, command: Sequence[str]) -> list[str]:
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", ENTER, "enter", str(self._image.root), str(self._data)),
            *(self._image.config["User"], "/usr/bin/env", "-i", *variables, *command),
        ]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command in it, with its files, user and environment."""
        return subprocess.run(
            self._entering(command), capture_output=True, text=True, timeout=60, check=False
        )

    def terminate(self) -> None:
        """Send SIGTERM to the first process of the container, as `docker stop` does."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        """Tell the first process of the container; what started it ends after it."""
        assert self._process
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(children[0]) if children else pid, number)

    def wait(self, timeout_s: float) -> int:
        assert self._process
        return self._process.wait(timeout_s)

    @property
    def log(self) -> str:
        return self._log.read_text()
