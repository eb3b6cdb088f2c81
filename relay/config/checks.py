"""Rules between settings: what is unsafe or cannot work although each value alone is right.

They fail closed: a relay that would take passwords in clear from the network does not start.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.config.sources import is_absent
from relay.config.tree import Tree

SHORTEST_TOKEN = 16
LEAST_CHARACTERS = 8
# What stands in examples, to be replaced.
EXAMPLE = re.compile(r"change.?me|your.?(?:api.?)?token|secret.?token|example", re.IGNORECASE)
KEY_FILE = "encryption_key"
KEY_IS_MISSING = (
    "is required with PostgreSQL, where nodes must share it: set PILLARBOX_ENCRYPTION_KEY or "
    "PILLARBOX_ENCRYPTION_KEY_FILE (make one with: openssl rand -base64 32)"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is broken; `keys` are the settings that could mend it, the one to name first."""

    keys: tuple[str, ...]
    text: str


def check(tree: Tree, instance_dir: Path) -> Iterator[Finding]:
    yield from _certificate(tree)
    yield from _old_tls(tree)
    yield from _room_for_a_mail(tree)
    yield from _clear_text_logins(tree)
    yield from _short_token(tree)
    yield from _easy_token(tree)
    yield from _same_address_twice(tree)
    yield from _engine(tree, instance_dir)


def _certificate(tree: Tree) -> Iterator[Finding]:
    cert, key = tree.smtp.tls_cert, tree.smtp.tls_key
    both = ("smtp.tls_cert", "smtp.tls_key")
    if cert and not key:
        yield Finding(both, "is given without its private key: set smtp.tls_key too")
    if key and not cert:
        yield Finding(both[::-1], "is given without its certificate: set smtp.tls_cert too")
    named = [*zip(both, (cert, key), strict=True)]
    named += [("smtp.more_certs", more) for more in tree.smtp.more_certs]
    for name, path in named:
        if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            yield Finding((name,), f"{path} is not a file that can be read")
    if tree.smtp.more_certs and not cert:
        yield Finding(("smtp.more_certs",), "comes beside a first certificate: set smtp.tls_cert")
    if tree.smtp.tls_listen and not (cert or key):
        yield Finding(
            ("smtp.tls_listen", *both), "needs a certificate: set smtp.tls_cert and smtp.tls_key"
        )


def _old_tls(tree: Tree) -> Iterator[Finding]:
    for listen in tree.smtp.old_tls_listen:
        if listen not in (*tree.smtp.listen, *tree.smtp.tls_listen):
            keys = ("smtp.old_tls_listen", "smtp.listen", "smtp.tls_listen")
            yield Finding(keys, f"{listen} is neither in smtp.listen nor in smtp.tls_listen")


def _room_for_a_mail(tree: Tree) -> Iterator[Finding]:
    if tree.smtp.max_receiving_bytes < tree.limits.max_message_bytes:
        keys = ("smtp.max_receiving_bytes", "limits.max_message_bytes")
        yield Finding(keys, "has no room for one mail of limits.max_message_bytes")


def _clear_text_logins(tree: Tree) -> Iterator[Finding]:
    if tree.smtp.tls_cert or tree.smtp.tls_key:
        return
    for listen in tree.smtp.listen:
        if tree.smtp.needs_tls(listen):
            yield Finding(
                ("smtp.listen", "smtp.require_tls", "smtp.tls_cert", "smtp.tls_key"),
                f"{listen} needs TLS for logins and there is no certificate: set smtp.tls_cert and "
                "smtp.tls_key, or listen on 127.0.0.1, or set smtp.require_tls = false to let "
                "passwords cross the network in clear",
            )


def _short_token(tree: Tree) -> Iterator[Finding]:
    token = tree.http.api_token
    is_short = token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN
    if is_short and not tree.http.listen.is_loopback:
        yield Finding(
            ("http.api_token", "http.listen"),
            f"must be at least {SHORTEST_TOKEN} characters where http.listen is not loopback",
        )


def _easy_token(tree: Tree) -> Iterator[Finding]:
    token = tree.http.api_token.get_secret_value() if tree.http.api_token else ""
    is_easy = len(token) >= SHORTEST_TOKEN and len(set(token)) < LEAST_CHARACTERS
    if (is_easy or EXAMPLE.search(token)) and not tree.http.listen.is_loopback:
        yield Finding(
            ("http.api_token", "http.listen"),
            "is easy to guess, and http.listen is not loopback: make one with openssl rand -hex 32",
        )


def _same_address_twice(tree: Tree) -> Iterator[Finding]:
    named = [
        *(("smtp.listen", listen) for listen in tree.smtp.listen),
        *(("smtp.tls_listen", listen) for listen in tree.smtp.tls_listen),
        ("http.listen", tree.http.listen),
    ]
    uses = Counter(listen for _, listen in named if listen.port)
    for listen, count in uses.items():
        if count > 1:
            keys = tuple(key for key, each in named if each == listen)
            yield Finding(keys[::-1], f"{listen} is already listened on by {keys[0]}")


def _engine(tree: Tree, instance_dir: Path) -> Iterator[Finding]:
    is_sqlite = tree.database.sqlite_path is not None
    if is_sqlite and tree.workers > 1:
        yield Finding(
            ("workers", "database.url"),
            f"{tree.workers} processes need PostgreSQL: set database.url, or workers = 1",
        )
    if not is_sqlite and not tree.encryption_key and is_absent(instance_dir / KEY_FILE):
        yield Finding(("encryption_key", "database.url"), KEY_IS_MISSING)
