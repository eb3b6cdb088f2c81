"""An instance in the background: how its process is started and ended, and what is waited for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from cli.client import over
from cli.failure import EX_UNAVAILABLE, Failure
from cli.home import Instance
from cli.log_file import end_of
from cli.output import note
from cli.serving import pids

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05


def launch(instance: Instance, options: Mapping[str, str]) -> None:
    """Start `pillarbox serve` and return once it is ready. Raises Failure with the end of its
    log.
    """
    # -P: a folder called `cli` in the working directory is not ours.
    command = [sys.executable, "-P", "-m", "cli", "serve", "--home", str(instance.home.absolute())]
    command += ["--name", instance.name, "--log-file", str(instance.log)]
    command += [word for option in options.items() for word in option]
    log = os.open(instance.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    began_at = os.fstat(log).st_size
    process = subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
    )
    os.close(log)
    wait_until_ready(instance, process, began_at)


def wait_until_ready(instance: Instance, process: "subprocess.Popen[bytes]", began_at: int) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    trouble = "it does not answer"
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise failed(instance, process.returncode, began_at)
        found = trouble_of(instance)
        if found is None:
            return
        trouble = found or trouble
        time.sleep(LOOK_EVERY_S)
    raise Failure(f"{instance.name} runs, but is not ready: {trouble}", EX_UNAVAILABLE)


def trouble_of(instance: Instance) -> str | None:
    """Return why an instance is not ready, "" where nobody answers; None when it is."""
    for path in instance.live_sockets():
        try:
            with over(path, timeout_s=5) as api:
                api.get("/ready")
        except Failure as failure:
            return failure.message
        return None
    return ""


def failed(instance: Instance, code: int, began_at: int) -> Failure:
    """Show what an instance said before it ended. Its own words tell why: no more is added."""
    lines = end_of(instance.log, most_bytes=max(1, instance.log.stat().st_size - began_at))
    for line in lines:
        note(line)
    if any("Address already in use" in line for line in lines):
        note("other ports are given by --port and --smtp-port")
    return Failure(f"{instance.name} did not start; its log is {instance.log}", max(code, 1))


def shut_down(instance: Instance, patience_s: float) -> None:
    """End an instance in order, and say what is waited for. Raises Failure where it takes too
    long.
    """
    running = pids(instance.folder)
    under_way = sending(instance)
    for pid in running:
        with suppress(ProcessLookupError):  # its workers hold its lock, and end by themselves
            os.kill(pid, signal.SIGTERM)
    if under_way:
        note(f"waiting for {under_way} deliveries under way")
    give_up_at = time.monotonic() + patience_s
    while left := pids(instance.folder):
        if time.monotonic() > give_up_at:
            ids = ", ".join(str(pid) for pid in left)
            raise Failure(
                f"{instance.name} is still stopping (process {ids}); kill -9 loses nothing that"
                " was acknowledged",
                os.EX_TEMPFAIL,
            )
        time.sleep(LOOK_EVERY_S)


def sending(instance: Instance) -> int:
    """Return how many recipients are being sent to; 0 where nobody can tell."""
    for path in instance.live_sockets():
        try:
            with over(path, timeout_s=5) as api:
                return int(api.get("/status")["queue"].get("sending", 0))
        except Failure:
            continue
    return 0
