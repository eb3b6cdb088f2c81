"""/account, /accounts: the upstream servers of a tenant. Secrets go in and never come out."""

from admin_api import cursors
from admin_api.problems import Answer, not_found
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.account import (
    AccountInput,
    AccountOutput,
    Accounts,
    Verified,
    VerifyStep,
)
from admin_api.schemas.model import OfTenant, Ok, TenantPage
from admin_api.services import Services
from relay.model import Account, TlsMode

IMPLICIT_TLS_PORT = 465  # RFC 8314 §3.3
_SOMETIMES = frozenset({"next_cursor", "warnings"})


async def save_account(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(AccountInput)
    tenant_id = call.caller.tenant(given.tenant_id, place="body")
    if await services.directory.tenant(tenant_id) is None:
        raise not_found("tenant")
    await services.accounts.save(account_of(given, tenant_id))
    return Answer(shown(Ok(warnings=warnings), omit=_SOMETIMES))


async def list_accounts(services: Services, call: Call) -> Answer:
    query = call.read_query(TenantPage)
    call.caller.check(query.tenant_id)
    stored = await services.accounts.of_tenant(query.tenant_id)
    page, following = cursors.cut(stored, lambda a: a.id, query.limit, query.cursor)
    answer = Accounts(accounts=[output_of(account) for account in page], next_cursor=following)
    return Answer(shown(answer, omit=_SOMETIMES))


async def delete_account(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    if not await services.accounts.delete(query.tenant_id, call.path["id"]):
        raise not_found("account")
    return Answer({"ok": True})


async def verify_account(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    account = await services.accounts.find(query.tenant_id, call.path["id"])
    if account is None:
        raise not_found("account")
    steps = await services.verifier.verify(account)
    shown_steps = [VerifyStep(step=s.step, ok=s.ok, detail=s.detail) for s in steps]
    answer = Verified(ok=all(s.ok is not False for s in steps), steps=shown_steps)
    return Answer(shown(answer, omit=_SOMETIMES))


def tls_of(given: AccountInput) -> TlsMode:
    """Decide how the connection is secured; a login never travels in clear unless `use_tls` is
    false.
    """
    if given.tls is not None:
        return given.tls
    if given.use_tls is False:
        return TlsMode.NONE
    if given.port == IMPLICIT_TLS_PORT:
        return TlsMode.IMPLICIT
    return TlsMode.STARTTLS if given.use_tls or given.user else TlsMode.OPPORTUNISTIC


def account_of(given: AccountInput, tenant_id: str) -> Account:
    values = given.model_dump(exclude={"tenant_id", "tls", "sender_domains"})
    return Account(
        **values,
        tenant_id=tenant_id,
        tls=tls_of(given),
        tls_given=given.tls is not None,
        sender_domains=tuple(given.sender_domains),
    )


def output_of(account: Account) -> AccountOutput:
    values = {name: getattr(account, name) for name in AccountOutput.model_fields}
    return AccountOutput.model_construct(
        **{**values, "sender_domains": list(account.sender_domains)}
    )


ROUTES = (
    Route(
        "POST",
        "/account",
        save_account,
        Access.TENANT,
        "Make an account, or replace it whole: a password that is left out is forgotten",
        answer=Ok,
        body=AccountInput,
        failures={404: "No such tenant"},
    ),
    Route(
        "GET",
        "/accounts",
        list_accounts,
        Access.TENANT,
        "List a tenant's accounts, without their secrets",
        answer=Accounts,
        query=TenantPage,
    ),
    Route(
        "POST",
        "/account/{id}/verify",
        verify_account,
        Access.TENANT,
        "Connect, secure and log in as the account does; say what each step came to",
        answer=Verified,
        query=OfTenant,
        failures={404: "No such account of this tenant"},
    ),
    Route(
        "DELETE",
        "/account/{id}",
        delete_account,
        Access.TENANT,
        "Delete an account; mail that waits for it keeps waiting",
        answer=Ok,
        query=OfTenant,
        failures={404: "No such account of this tenant"},
    ),
)
