"""Sealing all secrets of a database anew, with the key that seals now, while it is in use.

Promises: each secret opens at any moment with the old key or the new one; a second run seals only
what the first did not reach. Every node must have both keys before this begins.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay.crypto import Keyring
from relay.store.database import Database, Query, Script, Value
from relay.store.instance import RECALL_TO_CHANGE, RENEW, SEALED_AT, SETTINGS

PORTION = 200
KEY_CHECK = "key_check"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table with sealed columns. `page` gives the rows past a key, `update` takes the columns in
    order and then the key. `first` is before every key; the columns of `place` say where a secret
    is at home.
    """

    table: str
    key: tuple[str, ...]
    first: tuple[Value, ...]
    place: tuple[str, ...]
    columns: tuple[str, ...]
    page: str
    update: str


TABLES = (
    Sealed(
        "tenants",
        ("id",),
        ("",),
        ("id",),
        ("client_auth", "callback_secret", "large_file_config"),
        "SELECT id, client_auth, callback_secret, large_file_config FROM tenants WHERE id > $1"
        " ORDER BY id LIMIT $2 {for_update}",
        "UPDATE tenants SET client_auth = $1, callback_secret = $2, large_file_config = $3"
        " WHERE id = $4",
    ),
    Sealed(
        "accounts",
        ("tenant_id", "id"),
        ("", ""),
        ("tenant_id", "id"),
        ("password", "imap_password"),
        "SELECT tenant_id, id, password, imap_password FROM accounts"
        " WHERE (tenant_id, id) > ($1, $2) ORDER BY tenant_id, id LIMIT $3 {for_update}",
        "UPDATE accounts SET password = $1, imap_password = $2 WHERE tenant_id = $3 AND id = $4",
    ),
    # The logins of files that are not fetched yet.
    Sealed(
        "attachments",
        ("message_pk", "n"),
        ("", -1),
        ("tenant_id", "id", "n"),
        ("auth",),
        "SELECT m.tenant_id, m.id, a.message_pk, a.n, a.auth FROM attachments a"
        " JOIN messages m ON m.pk = a.message_pk WHERE (a.message_pk, a.n) > ($1, $2)"
        " AND a.auth IS NOT NULL ORDER BY a.message_pk, a.n LIMIT $3 {for_update}",
        "UPDATE attachments SET auth = $1 WHERE message_pk = $2 AND n = $3",
    ),
)


async def reseal(database: Database, keyring: Keyring, portion: int = PORTION) -> int:
    """Seal with the first key what another sealed; return how many secrets that were. Raises
    SecretDamaged for what opens with none.
    """
    count = 0
    for sealed in TABLES:
        last: Sequence[Value] | None = sealed.first
        while last is not None:
            script = partial(reseal_portion, sealed, keyring, last, portion)
            changed, last = await database.write(script)
            count += changed
    return count + await database.write(partial(reseal_instance, keyring))


def reseal_portion(
    sealed: Sealed, keyring: Keyring, after: Sequence[Value], most: int
) -> Script[tuple[int, Sequence[Value] | None]]:
    """Seal the next rows; return how many secrets were changed and the last key, None at the
    end.
    """
    count = 0
    rows = yield Query(sealed.page, (*after, most))
    for row in rows:
        key = [row[name] for name in sealed.key]
        place = "/".join((sealed.table, *(str(row[name]) for name in sealed.place)))
        fresh = [resealed(keyring, row[name], where=f"{place}/{name}") for name in sealed.columns]
        changed = sum(new != row[name] for new, name in zip(fresh, sealed.columns, strict=True))
        if changed:
            count += changed
            yield Query(sealed.update, (*fresh, *key))
    last = [rows[-1][name] for name in sealed.key] if len(rows) == most else None
    return count, last


def reseal_instance(keyring: Keyring) -> Script[int]:
    """Seal what the instance has of its own, and the value that tells a wrong key."""
    count = 0
    rows = yield Query(RECALL_TO_CHANGE, (SETTINGS,))
    values = json.loads(rows[0]["value"]) if rows else {}
    password = values["bounce"]["bounce_imap_password"] if values else None
    if password is not None and not keyring.is_newest(password):
        values["bounce"]["bounce_imap_password"] = resealed(keyring, password, where=SEALED_AT)
        yield Query(RENEW, (SETTINGS, json.dumps(values)))
        count = 1
    yield Query(RENEW, (KEY_CHECK, keyring.key_check()))
    return count


def resealed(keyring: Keyring, value: str | None, *, where: str) -> str | None:
    if value is None or keyring.is_newest(value):
        return value
    return keyring.seal(keyring.open(value, where=where), where=where)
