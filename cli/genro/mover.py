"""The move in order: tenants with their keys and what they suspend, then accounts, then mail.

Promises: what the instance has already is left as it is, so that the move can be broken off and
made again; what a tenant had suspended is suspended before any of its mail is there to be sent;
what is not brought is told with its reason.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cli.client import Api, Json, segment
from cli.failure import Failure
from cli.genro.giver import Giver
from cli.genro.judge import Judge, Reason
from cli.genro.source import ACCOUNTS, PENDING, TENANTS, UNREPORTED, Row, Source
from cli.genro.translation import Untranslatable, account_of, is_sealed, message_of, tenant_of
from relay.crypto import Keyring

TENANT, ACCOUNT, MESSAGE = "tenants", "accounts", "messages"
BROUGHT, THERE, SKIPPED = "brought", "already there", "skipped"
ALREADY = "already sent"  # in the words of the API
MESSAGES_AT_ONCE = 200
CHARS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be known of one thing; it was `skipped`, or else brought in spite of it."""

    kind: str
    name: str
    text: str
    skipped: bool


@dataclass(slots=True)
class Tally:
    """`unreported` outcomes were not told to clients, and stay behind."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    remarks: list[Remark] = field(default_factory=list)
    unreported: int = 0

    def note(self, kind: str, name: str, reason: Reason) -> None:
        """Count one thing as brought, or as skipped for a reason."""
        if reason == ALREADY:
            self.counts[kind, THERE] += 1
            return
        self.counts[kind, BROUGHT if reason is None else SKIPPED] += 1
        if reason is not None:
            self.remarks.append(Remark(kind, name, reason, skipped=True))


class Mover:
    """Without a giver it only looks."""

    def __init__(self, source: Source, api: Api, giver: Giver | None, keyring: Keyring | None):
        self._source = source
        self._api = api
        self._giver = giver
        self._keyring = keyring
        self._judge = Judge()
        self._there: dict[str, frozenset[str]] = {}
        self._account_ids: dict[str, str] = {}
        self.tally = Tally()

    def move(self, on_message: Callable[[int], None]) -> Tally:
        """Bring all. Raises Failure. `on_message` hears how many messages are done with."""
        self._check_key()
        self._look()
        for row in self._source.rows(TENANTS):
            self._bring(TENANT, row["id"], row, self._tenant)
        for row in self._source.rows(ACCOUNTS):
            self._account_ids[row.get("pk", "")] = row["id"]
            self._bring(ACCOUNT, f"{row['tenant_id']}/{row['id']}", row, self._account)
        for batch in self._batches():
            self._messages(batch)
            on_message(len(batch))
        self.tally.unreported = next(self._source.rows(UNREPORTED))["total"]
        return self.tally

    def _check_key(self) -> None:
        """Raise Failure where secrets are sealed and there is no key: an account without its
        password would be of no use.
        """
        columns = ("password", "imap_password")
        rows = self._source.rows(ACCOUNTS)
        if self._keyring is None and any(is_sealed(row.get(c)) for row in rows for c in columns):
            text = "its secrets are sealed: give its key by MAIL_PROXY_ENCRYPTION_KEY or --key-file"
            raise Failure(text, os.EX_CONFIG)

    def _look(self) -> None:
        """See what the instance has."""
        for tenant in self._api.get("/tenants")["tenants"]:
            tenant_id = tenant["id"]
            accounts = self._api.get("/accounts", tenant_id=tenant_id)["accounts"]
            self._there[tenant_id] = frozenset(account["id"] for account in accounts)
            self._judge.know_tenant(tenant_id, active=tenant["active"])
            self._judge.know_accounts(tenant_id, self._there[tenant_id])

    def _bring(self, kind: str, name: str, row: Row, bring: Callable[[Row], Reason]) -> None:
        try:
            reason = bring(row)
        except Untranslatable as error:
            reason = str(error)
        self.tally.note(kind, name, reason)

    def _tenant(self, row: Row) -> Reason:
        tenant = tenant_of(row, time.time())
        tenant_id = tenant.body["id"]
        is_there = tenant_id in self._there
        reason = None if is_there else self._judge.tenant(tenant.body)
        if reason is None and not is_there and self._giver:
            reason = self._giver.tenant(tenant.body)
        if reason is not None:
            return reason
        if self._giver:
            self._giver.suspend(tenant_id, tenant.suspends)
        if is_there:
            return ALREADY
        self._judge.know_tenant(tenant_id, active=tenant.body["active"])
        remarks = (Remark(TENANT, tenant_id, text, skipped=False) for text in tenant.remarks)
        self.tally.remarks += remarks
        return None

    def _account(self, row: Row) -> Reason:
        tenant_id, account_id = row["tenant_id"], row["id"]
        if account_id in self._there.get(tenant_id, ()):
            return ALREADY
        body = account_of(row, self._keyring)
        reason = self._judge.account(body)
        if reason is None and self._giver:
            reason = self._giver.account(body)
        if reason is None:
            self._judge.know_accounts(tenant_id, [account_id])
        return reason

    def _batches(self) -> Iterator[list[Json]]:
        """Give the messages that will be taken, of one tenant at a time and not too many at once;
        note what becomes of the others.
        """
        batch: list[Json] = []
        chars = 0
        for row in self._source.rows(PENDING):
            body = self._judged(row)
            if body is None:
                continue
            is_full = len(batch) == MESSAGES_AT_ONCE or chars > CHARS_AT_ONCE
            if batch and (is_full or batch[0]["tenant_id"] != body["tenant_id"]):
                yield batch
                batch, chars = [], 0
            batch.append(body)
            chars += len(row["payload"])
        if batch:
            yield batch

    def _judged(self, row: Row) -> Json | None:
        """Return a message that is to be given."""
        try:
            body = message_of(row, self._account_ids)
            reason = ALREADY if self._has(body) else self._judge.message(body)
        except Untranslatable as error:
            reason = str(error)
        if reason is None:
            return body
        self.tally.note(MESSAGE, f"{row['tenant_id']}/{row['id']}", reason)
        return None

    def _has(self, body: Json) -> bool:
        """Whether the instance knows a message. One that waits would be replaced, and what became
        of it here forgotten.
        """
        if body["tenant_id"] not in self._there:
            return False
        path = f"/messages/{segment(body['id'])}"
        return self._api.find(path, tenant_id=body["tenant_id"]) is not None

    def _messages(self, batch: list[Json]) -> None:
        reasons = self._giver.messages(batch) if self._giver else (None for _ in batch)
        for body, reason in zip(batch, reasons, strict=True):
            self.tally.note(MESSAGE, f"{body['tenant_id']}/{body['id']}", reason)
