"""Whether the API will take what is to be brought, said without giving it.

A message that is given and refused is reported to its client as failed. One that is only waiting
for its operator to put something right must not be, so that each is judged before it is given.
"""

import time
from collections.abc import Iterable

from pydantic import ValidationError

from admin_api.drafts import Desk, submission_of
from admin_api.schemas.account import AccountInput
from admin_api.schemas.model import Model
from admin_api.schemas.tenant import TenantInput
from cli.client import Json
from relay.errors import Refused
from relay.ingress.submission import Origin

MOST_RECIPIENTS = 1000

Reason = str | None


class Judge:
    """Each method returns why something would not be taken, or None."""

    def __init__(self) -> None:
        self._tenants: dict[str, bool] = {}
        self._accounts: set[tuple[str, str]] = set()

    def know_tenant(self, tenant_id: str, *, active: bool) -> None:
        self._tenants[tenant_id] = active

    def know_accounts(self, tenant_id: str, account_ids: Iterable[str]) -> None:
        self._accounts |= {(tenant_id, account_id) for account_id in account_ids}

    def tenant(self, body: Json) -> Reason:
        return judged(TenantInput, body)

    def account(self, body: Json) -> Reason:
        if body["tenant_id"] not in self._tenants:
            return "its tenant was not brought"
        return judged(AccountInput, body)

    def message(self, body: Json) -> Reason:
        tenant_id = body["tenant_id"]
        if not self._tenants.get(tenant_id):
            return f"its tenant {'is not active' if tenant_id in self._tenants else 'is missing'}"
        if (tenant_id, body.get("account_id")) not in self._accounts:
            return f"its account {body.get('account_id')} is missing"
        try:
            submission_of(body, Desk("localhost", MOST_RECIPIENTS, time.time(), Origin("HTTP")))
        except Refused as refused:
            return str(refused)
        return None


def judged(model: type[Model], body: Json) -> Reason:
    try:
        model.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    return None
