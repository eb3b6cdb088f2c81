"""From the rows of a genro-mail-proxy to the bodies that our API takes. Pure.

What is not known here is left out, and where that matters it is remarked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from admin_api.drafts import MESSAGE_FIELDS
from admin_api.schemas.model import known_fields
from admin_api.schemas.tenant import LargeFileConfig
from cli.genro.source import Row
from relay.crypto import Keyring
from relay.errors import SecretDamaged

SEALED = "ENC:"
ALL = "*"
TENANT_TEXTS = ("name", "client_base_url", "client_sync_path", "client_attachment_path")
# 0 means none there, and is no number of seconds or messages here.
POSITIVE = ("ttl", "batch_size", "limit_per_minute", "limit_per_hour", "limit_per_day")
IMAP = ("imap_host", "imap_port", "imap_user", "imap_folder")
ROW_FIELDS = ("id", "tenant_id", "account_id", "priority", "deferred_ts", "batch_code")

Json = dict[str, Any]


class Untranslatable(Exception):
    """A row that cannot be brought; the text says why."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """`suspends` are the batches that it holds back, `*` for all."""

    body: Json
    suspends: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def has_key(self) -> bool:
        return "api_key_hash" in self.body


def tenant_of(row: Row, now: float) -> Tenant:
    """Turn a row into a tenant; a key that ends before `now` is left out. Raises Untranslatable."""
    limits = json_in(row, "rate_limits") or {}
    files = json_in(row, "large_file_config")
    ends_at = unix_time(row.get("api_key_expires_at"))
    remarks = []
    body: Json = {
        "id": row["id"],
        **{name: row.get(name) for name in TENANT_TEXTS},
        "active": row.get("active") != 0,
        "client_auth": json_in(row, "client_auth"),
        "rate_limits": {name: most for name, most in limits.items() if most} or None,
        "large_file_config": files,
    }
    unknown = sorted((files or {}).keys() - known_fields(LargeFileConfig))
    if unknown:
        remarks.append(f"large_file_config has no {', '.join(unknown)} here")
    if ends_at is not None and ends_at <= now:
        remarks.append("its API key has ended, and is not brought")
    elif row.get("api_key_hash"):
        body |= {"api_key_hash": row["api_key_hash"], "api_key_expires_at": ends_at}
    batches = (row.get("suspended_batches") or "").split(",")
    suspends = tuple(sorted(filter(None, (code.strip() for code in batches))))
    return Tenant(without_none(body), (ALL,) if ALL in suspends else suspends, tuple(remarks))


def account_of(row: Row, keyring: Keyring | None) -> Json:
    """Turn a row into an account, its secrets opened. Raises Untranslatable."""
    body: Json = {
        **{name: row.get(name) for name in ("id", "tenant_id", "host", "port", "user")},
        **{name: row.get(name) or None for name in (*POSITIVE, "limit_behavior")},
        "password": secret_in(row, "password", keyring),
        "use_tls": None if row.get("use_tls") is None else bool(row["use_tls"]),
        "is_pec_account": bool(row.get("is_pec_account")),
    }
    if row.get("imap_host"):
        body |= {name: row.get(name) for name in IMAP}
        body["imap_password"] = secret_in(row, "imap_password", keyring)
    return without_none(body)


def message_of(row: Row, account_ids: Mapping[str, str]) -> Json:
    """Turn a row into a message; `account_ids` are by the `pk` that 0.7 has. Raises
    Untranslatable.
    """
    payload = json_in(row, "payload") or {}
    payload.setdefault("from", payload.get("from_addr"))
    known = {name: value for name, value in payload.items() if name in MESSAGE_FIELDS}
    own = {name: row.get(name) for name in ROW_FIELDS}
    own["account_id"] = own["account_id"] or account_ids.get(row.get("account_pk") or "")
    # What the row says goes before what was asked once: also that nothing is put off any more.
    return without_none(known | own)


def without_none(body: Json) -> Json:
    return {name: value for name, value in body.items() if value is not None}


def json_in(row: Row, column: str) -> Json | None:
    """Return the object in a column."""
    text = row.get(column)
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = ...
    if value is None or isinstance(value, dict):
        return value
    raise Untranslatable(f"{column} is no JSON object")


def secret_in(row: Row, column: str, keyring: Keyring | None) -> str | None:
    """Return the secret in a column, where it is sealed too."""
    value: str | None = row.get(column)
    if not is_sealed(value) or value is None:
        return value or None
    if keyring is None:
        raise Untranslatable(f"{column} is sealed, and no key was given")
    try:
        return keyring.open_legacy(value)
    except SecretDamaged:
        raise Untranslatable(f"{column} does not open with the key that was given") from None


def is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(SEALED)


def unix_time(value: object) -> float | None:
    """Read a time: SQLite has the number that was stored, PostgreSQL a timestamp in UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).timestamp()
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str) or not value:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Untranslatable(f"its API key ends at {value!r}, which is no time") from None
