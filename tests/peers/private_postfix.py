"""A Postfix of one's own, beside the system's: its settings, queue and log in one folder.

Promises: listens on loopback only, on the ports that it is told; touches nothing of the Postfix
that may be installed and running. Needs root, as Postfix does.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

START_S = 20

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
{settings}
"""

# service, type, private, unprivileged, chroot, wakeup, most processes, command
MASTER_CF = """
{doors}
cleanup              unix       n - n -    0  cleanup
qmgr                 unix       n - n 300  1  qmgr
tlsmgr               unix       - - n 1000 1  tlsmgr
tlsproxy             unix       - - n -    0  tlsproxy
rewrite              unix       - - n -    -  trivial-rewrite
bounce               unix       - - n -    0  bounce
defer                unix       - - n -    0  bounce
trace                unix       - - n -    0  bounce
smtp                 unix       - - n -    -  smtp
error                unix       - - n -    -  error
retry                unix       - - n -    -  error
anvil                unix       - - n -    1  anvil
scache               unix       - - n -    1  scache
proxymap             unix       - - n -    -  proxymap
postlog              unix-dgram n - n -    1  postlogd
"""


class PrivatePostfix:
    """`settings` are lines of main.cf; `doors` gives each port its options for smtpd. The folder is
    made, and removed in the end.
    """

    def __init__(self, folder: Path, settings: str, doors: Mapping[int, str]) -> None:
        self.folder = folder
        self._settings = settings
        self._doors = doors

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def master_pid(self) -> int:
        return int((self.spool / "pid" / "master.pid").read_text())

    def lay_out(self) -> None:
        """Write the settings and make the spool."""
        for path in (self.folder, self._etc, self.spool, self.folder / "data"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        shutil.chown(self.folder / "data", "postfix")
        doors = [
            f"127.0.0.1:{port} inet n - n - - smtpd {options}"
            for port, options in self._doors.items()
        ]
        main = MAIN_CF.format(folder=self.folder, settings=self._settings)
        (self._etc / "main.cf").write_text(main)
        (self._etc / "master.cf").write_text(MASTER_CF.format(doors="\n".join(doors)))
        self._do("check")  # makes the folders of the spool, with the right owners

    def start(self) -> None:
        """Start and wait for every port."""
        self._do("start")
        for port in self._doors:
            wait_for(port)

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", self._etc, "stop"], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _etc(self) -> Path:
        return self.folder / "etc"

    def _do(self, command: str) -> None:
        run_daemon("postfix", "-c", str(self._etc), command)


def run_daemon(*command: str) -> None:
    """Start a daemon; what it says goes to a file, since it would hold a pipe open for ever."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        output.seek(0)
        said = output.read().decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {said}")


def free_ports(count: int) -> list[int]:
    """Find ports that are free, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_for(port: int) -> None:
    """Wait until somebody listens on this port."""
    give_up_at = time.monotonic() + START_S
    while not listens(port):
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"nothing listens on port {port}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
