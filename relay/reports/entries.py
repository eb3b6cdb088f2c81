"""The events of a tenant as the JSON of a report.

An entry tells of one recipient. Its first fields are those that clients of genro-mail-proxy know;
what follows is the same in every entry, null where it is not known. Times are whole Unix seconds.
"""

import json
from collections.abc import Mapping, Sequence

from relay.formats.stored_json import object_in
from relay.store.events import StoredEvent

Entry = dict[str, object]

# Where each kind says when it happened, and where why.
FIELDS: Mapping[str, tuple[str, str | None]] = {
    "sent": ("sent_ts", None),
    "failed": ("error_ts", "error"),
    "rejected": ("error_ts", "error"),
    "cancelled": ("error_ts", "error"),
    "deferred": ("deferred_ts", "deferred_reason"),
    "suppressed": ("error_ts", "error"),
    "bounced": ("bounce_ts", None),
}

BOUNCE_FIELDS = ("bounce_type", "bounce_code", "bounce_reason")


def entry(event: StoredEvent) -> Entry | None:
    """Return an event's entry; None for what clients are not told of."""
    outcome = certified(event) if event.kind.startswith("pec_") else plain(event)
    if outcome is None:
        return None
    told: Entry = {"id": event.id} | outcome
    if event.kind == "bounced":
        told |= {name: event.data.get(name) for name in BOUNCE_FIELDS}
    told |= {
        "pk": None if event.is_rejection else event.message_pk,
        "tenant_id": event.tenant_id,
        "event_id": event.event_id,
        "seq": event.seq,
        "recipient": event.data.get("recipient"),
        "metadata": None if event.metadata is None else object_in(event.metadata),
        "account_id": event.data.get("account_id"),
        "code": event.data.get("code") or None,
    }
    if event.data.get("possible_duplicate"):
        told["possible_duplicate"] = True
    return told


def plain(event: StoredEvent) -> Entry | None:
    fields = FIELDS.get(event.kind)
    if fields is None:
        return None
    when, why = fields
    told: Entry = {when: int(event.at)}
    if why is not None:
        told[why] = event.data.get("reply") or event.kind
    return told


def certified(event: StoredEvent) -> Entry:
    """Return what a receipt of certified mail says, or that none came (PEC)."""
    data = event.data
    told: Entry = {
        "pec_event": event.kind,
        "pec_ts": int(event.at),
        "pec_details": data.get("details"),
    }
    # The number is the one to download it by.
    return told | {name: data[name] for name in ("receipt_type", "receipt") if name in data}


def report(events: Sequence[StoredEvent], most_bytes: int) -> tuple[bytes, int]:
    """Return the body of a call, and how many of the events are in it: at least one, if there is
    any.
    """
    parts: list[str] = []
    size_bytes = count = 0
    for event in events:
        told = entry(event)
        part = "" if told is None else json.dumps(told, separators=(",", ":"))
        size_bytes += len(part) + 1
        if count and size_bytes > most_bytes:
            break
        count += 1
        if part:
            parts.append(part)
    return f'{{"delivery_report":[{",".join(parts)}]}}'.encode("ascii"), count
