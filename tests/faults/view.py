"""The relay's own view: what each tenant, asking with its own key, is shown of its mail."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tests.faults.house import House
from tests.faults.invariants import FAILED
from tests.faults.ledgers import Overheard, Shown

PAGE = 500
ENDINGS = {"failed", "expired", "cancelled"}


@dataclass
class View:
    entries: list[Shown] = field(default_factory=list)
    overheard: list[Overheard] = field(default_factory=list)


async def look(house: House) -> View:
    """List every tenant's messages; of those in question, ask what became of each attempt."""
    house.collect()
    view = View()
    for tenant_id, sink in house.sinks.items():
        copies = Counter(got.token for got in sink.ledger.mails)
        async with house.as_tenant(tenant_id) as client:
            async for page in _pages(client, tenant_id):
                view.overheard.append(Overheard("GET /messages", tenant_id, page.text))
                for record in page.json()["messages"]:
                    entry = _entry(record)
                    attempts = record["recipients"][0]["attempts"]
                    if copies[entry.token] > 1 or attempts > 1 or entry.status in FAILED:
                        entry = await _with_story(client, entry)
                    view.entries.append(entry)
            view.overheard += await _trespassed(client, house, tenant_id)
    view.overheard.append(await _measured(house))
    return view


async def _trespassed(client: httpx.AsyncClient, house: House, tenant_id: str) -> list[Overheard]:
    """Ask, as one tenant, for the mail of the others."""
    texts = []
    for other in house.tenants.keys() - {tenant_id}:
        answer = await client.get("/messages", params={"tenant_id": other})
        texts.append(Overheard(f"GET /messages of {other}", tenant_id, answer.text))
    return texts


async def _measured(house: House) -> Overheard:
    """Read what anybody may read."""
    answer = await house.nodes[house.living[0]].client.get("/metrics")
    return Overheard("GET /metrics", None, answer.text)


async def _pages(client: httpx.AsyncClient, tenant_id: str) -> AsyncIterator[httpx.Response]:
    query = {"tenant_id": tenant_id, "limit": str(PAGE)}
    while True:
        answer = await client.get("/messages", params=query)
        assert answer.status_code == 200, answer.text
        yield answer
        cursor = answer.json().get("next_cursor")
        if cursor is None:
            return
        query["cursor"] = cursor


def _entry(record: Mapping[str, Any]) -> Shown:
    token = str(record["recipients"][0]["address"]).partition("@")[0]
    return Shown(token, str(record["tenant_id"]), str(record["pk"]), str(record["status"]))


async def _with_story(client: httpx.AsyncClient, entry: Shown) -> Shown:
    answer = await client.get(f"/messages/{entry.pk}", params={"tenant_id": entry.tenant_id})
    record = answer.json()
    outcomes = [o for attempt in record["attempts"] for o in attempt["outcomes"]]
    return replace(
        entry,
        unknown=sum(outcome["verdict"] == "unknown" for outcome in outcomes),
        is_flagged=any(event["data"].get("possible_duplicate") for event in record["events"]),
        has_event=any(event["event"] in ENDINGS for event in record["events"]),
    )


async def is_drained(house: House) -> bool:
    """Whether no tenant has mail that is not final."""
    for tenant_id in house.tenants:
        query = {"tenant_id": tenant_id, "active_only": "true", "limit": "1"}
        try:
            async with house.as_tenant(tenant_id) as client:
                answer = await client.get("/messages", params=query)
        except httpx.TransportError:
            return False
        if answer.status_code != 200 or answer.json()["messages"]:
            return False
    return True
