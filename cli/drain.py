"""`pillarbox NAME drain`: take no more mail, send what is due, say what remains."""

import os
import time

import click

from cli.client import over
from cli.failure import Failure, not_running
from cli.home import Instance
from cli.options import as_json
from cli.output import note, print_json
from cli.place import Place
from cli.times import Span

LOOK_EVERY_S = 0.2
TELL_EVERY_S = 5.0
UNDER_WAY = ("queued", "sending")
WAITING = ("deferred", "suspended")


@click.command(short_help="Take no more mail, and send what is there.")
@click.option("--off", is_flag=True, help="Take mail again.")
@click.option(
    "--timeout", "timeout_s", type=Span(), default="10min", show_default=True, help="How long."
)
@as_json
@click.pass_obj
def drain(place: Place, off: bool, timeout_s: float, as_json: bool) -> None:
    """Take no more mail at the nodes of this machine, wait until what is due is sent, and say what
    remains.

    Applications are answered 421 and 503 meanwhile and come again. It ends with --off, or when the
    instance is restarted.
    """
    instance = place.instance
    turn(instance, "resume" if off else "drain")
    if off:
        note(f"{place.name} takes mail again")
        return
    note(f"{place.name} takes no more mail")
    queue = sent_off(instance, timeout_s)
    if as_json:
        print_json(queue)
    note(remaining(queue))
    if any(queue.get(state) for state in UNDER_WAY):
        raise SystemExit(os.EX_TEMPFAIL)


def turn(instance: Instance, command: str) -> None:
    """Tell every node of this machine. Raises Failure where there is none."""
    sockets = instance.live_sockets()
    if not sockets:
        raise not_running(instance.name)
    for path in sockets:
        with over(path) as api:
            api.post(f"/commands/{command}")


def sent_off(instance: Instance, timeout_s: float) -> dict[str, int]:
    """Wait until nothing is due any more, or for so long; return what there is by state."""
    give_up_at = time.monotonic() + timeout_s
    tell_at = time.monotonic() + TELL_EVERY_S
    while True:
        queue = depth(instance)
        if not any(queue.get(state) for state in UNDER_WAY) or time.monotonic() > give_up_at:
            return queue
        if time.monotonic() > tell_at:
            note(f"waiting for {sum(queue.get(state, 0) for state in UNDER_WAY)} recipients")
            tell_at += TELL_EVERY_S
        time.sleep(LOOK_EVERY_S)


def depth(instance: Instance) -> dict[str, int]:
    sockets = instance.live_sockets()
    if not sockets:
        raise Failure(f"{instance.name} has stopped meanwhile", os.EX_TEMPFAIL)
    with over(sockets[0]) as api:
        queue: dict[str, int] = api.get("/status")["queue"]
        return queue


def remaining(queue: dict[str, int]) -> str:
    left = [f"{queue[s]} {s}" for s in (*UNDER_WAY, *WAITING) if queue.get(s)]
    return f"what remains: {', '.join(left)} recipients" if left else "nothing remains"
