"""What a tenant wants done with large files: its `large_file_config`, read. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from relay.attachments.offload.place import MASK, Place, Scheme, read_place
from relay.model import Tenant

# Powers of 1024, as genro-mail-proxy counts.
MB = 1024 * 1024
DAY_S = 86_400.0
DEFAULT_SIZE_MB = 10
DEFAULT_TTL_DAYS = 30
CLOUD_LINK_MAX_S = 7 * DAY_S


class Action(StrEnum):
    WARN = "warn"
    REJECT = "reject"
    REWRITE = "rewrite"


@dataclass(frozen=True, slots=True)
class Policy:
    """A file of more than `max_bytes` is large; `place` is set where it is to be a link."""

    action: Action
    max_bytes: int
    ttl_s: float = DEFAULT_TTL_DAYS * DAY_S
    place: Place | None = field(default=None, repr=False)
    public_base_url: str | None = None


def policy_of(tenant: Tenant) -> Policy | None:
    """Return what a tenant wants, None where large files are as others."""
    config = tenant.large_file_config
    if not config or not config.get("enabled"):
        return None
    try:
        return read_policy(config)
    except ValueError:
        # It came by another way than the API, which refuses it. Without a place large files wait,
        # with that as the reason, until it is set right.
        return Policy(Action.REWRITE, DEFAULT_SIZE_MB * MB)


def read_policy(config: Mapping[str, object]) -> Policy:
    """Read a `large_file_config` that is enabled. Raises ValueError naming the field."""
    action = Action(str(config.get("action") or Action.WARN))
    url = config.get("storage_url")
    base_url = config.get("public_base_url")
    place = _place(str(url)) if url else None
    if action is Action.REWRITE:
        if place is None:
            raise ValueError("storage_url: rewrite needs a place for the files")
        if place.scheme is Scheme.FILE and not base_url:
            raise ValueError("public_base_url: links to file:// lead to this relay, by this URL")
    return Policy(
        action,
        math.floor(_number(config, "max_size_mb", DEFAULT_SIZE_MB) * MB),
        _number(config, "file_ttl_days", DEFAULT_TTL_DAYS) * DAY_S,
        place,
        str(base_url).rstrip("/") if base_url else None,
    )


def _place(url: str) -> Place:
    try:
        return read_place(url)
    except ValueError as error:
        raise ValueError(f"storage_url: {error}") from None


def _number(config: Mapping[str, object], name: str, default: float) -> float:
    value = config.get(name)
    return float(value) if isinstance(value, int | float) else default


def masked(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config as it is shown: as it was given, but for the login in its URL."""
    shown = dict(config)
    url = shown.get("storage_url")
    if not isinstance(url, str):
        return shown
    try:
        place = read_place(url)
    except ValueError:
        return shown | {"storage_url": MASK}
    return shown | {"storage_url": place.masked} if place.has_login else shown


def unmasked(given: Mapping[str, object], stored: Mapping[str, object] | None) -> dict[str, object]:
    """Return a config that was shown and is given back, with the login that it had."""
    url = given.get("storage_url")
    if stored and url is not None and url == masked(stored).get("storage_url"):
        return {**given, "storage_url": stored["storage_url"]}
    return dict(given)
