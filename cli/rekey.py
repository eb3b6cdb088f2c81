"""`pillarbox NAME rekey`: a new encryption key, with mail going on.

The key file has both keys until every secret is sealed with the new one. Interrupted at whatever
point, it is run again and goes on; no secret is ever without a key that opens it.
"""

import base64
import os
import secrets

import click

from cli.asking import confirm
from cli.client import Api, connected, over
from cli.failure import Failure
from cli.home import Instance
from cli.loading import load
from cli.options import yes
from cli.output import note
from cli.place import Place
from cli.private_file import replace_private

KEY_FILE = "encryption_key"


@click.command(short_help="Seal all secrets with a new encryption key.")
@yes
@click.pass_obj
def rekey(place: Place, yes: bool) -> None:
    """Make a new encryption key and seal all secrets with it, while mail goes on.

    Where the key is given to the nodes from outside, give each of them the new one and the old
    one, with a comma between them, restart them, and run this: it makes no key then. After it the
    old one may be taken out.
    """
    instance = place.instance
    config = load(place.home, place.name, {})
    origin = config.origins["encryption_key"]
    keys = config.encryption_key.get_secret_value() if config.encryption_key else ""
    is_ours = origin == str(config.instance_dir / KEY_FILE)
    if not is_ours and len(keys_in(keys)) < 2:
        raise Failure(
            f"the key is set by {origin}: give every node the new key, a comma and the old one,"
            " and restart them first",
            os.EX_CONFIG,
        )
    confirm("Backups that exist open with the old key only. Go on?", yes=yes)
    if is_ours:
        keys = with_new_key(instance, keys)
    note(f"secrets sealed with the new key: {sealed(instance)}")
    if is_ours:
        finish(instance, keys)
    else:
        note(f"the old key may be taken out of {origin} now")


def keys_in(text: str) -> list[str]:
    return text.replace(",", " ").split()


def with_new_key(instance: Instance, keys: str) -> str:
    """Put a new key before the old one, unless an earlier run did; return both."""
    if len(keys_in(keys)) == 1:
        fresh = base64.b64encode(secrets.token_bytes(32)).decode()
        keys = f"{fresh},{keys}"
        replace_private(instance.folder / KEY_FILE, keys)
    return keys


def sealed(instance: Instance) -> int:
    """Seal everything anew, once every node of this machine can open what is sealed so."""
    take_up(instance)
    with connected(instance) as api:
        return int(api.post("/commands/rekey")["sealed"])


def take_up(instance: Instance) -> None:
    for path in instance.live_sockets():
        with over(path) as api:
            read_keys(api)


def read_keys(api: Api) -> None:
    api.post("/commands/rekey", only_take_up=True)


def finish(instance: Instance, keys: str) -> None:
    """Take the old key out of the file, and have the nodes forget it."""
    replace_private(instance.folder / KEY_FILE, keys_in(keys)[0])
    take_up(instance)
    note("the old key is taken out; keep it for as long as you keep backups of before")
