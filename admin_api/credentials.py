"""/credential, /credentials: SMTP logins. A password that we make is shown once, and none is ever
stored.
"""

import asyncio

from admin_api import cursors
from admin_api.problems import Answer, not_found
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.credential import (
    CredentialInput,
    CredentialMade,
    CredentialOutput,
    Credentials,
)
from admin_api.schemas.model import OfTenant, Ok, TenantPage
from admin_api.services import Services
from relay import maillog
from relay.crypto import digest, hash_password, new_secret
from relay.ingress.networks import public_networks
from relay.model import Credential, SecretKind

_SOMETIMES = frozenset({"next_cursor", "warnings", "password"})


async def save_credential(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(CredentialInput)
    tenant_id = call.caller.tenant(given.tenant_id, place="body")
    if await services.directory.tenant(tenant_id) is None:
        raise not_found("tenant")
    secret = given.password or new_secret()
    kind = SecretKind.ARGON2ID if given.password else SecretKind.SHA256
    # What people choose is hashed slowly, by design: not in the loop.
    hashed = await asyncio.to_thread(hash_password, secret) if given.password else digest(secret)
    stored = credential_of(given, tenant_id, kind, hashed)
    await services.credentials.save(stored)
    warnings = [*(warnings or ()), *warn_of_open_networks(stored)] or None
    made = None if given.password else secret
    answer = CredentialMade(username=given.username, password=made, warnings=warnings)
    return Answer(shown(answer, omit=_SOMETIMES))


async def list_credentials(services: Services, call: Call) -> Answer:
    query = call.read_query(TenantPage)
    call.caller.check(query.tenant_id)
    stored = await services.credentials.of_tenant(query.tenant_id)
    page, following = cursors.cut(stored, lambda c: c.username, query.limit, query.cursor)
    answer = Credentials(credentials=[output_of(item) for item in page], next_cursor=following)
    return Answer(shown(answer, omit=_SOMETIMES))


async def delete_credential(services: Services, call: Call) -> Answer:
    query = call.read_query(OfTenant)
    call.caller.check(query.tenant_id)
    if not await services.credentials.delete(query.tenant_id, call.path["username"]):
        raise not_found("credential")
    return Answer({"ok": True})


def warn_of_open_networks(stored: Credential) -> list[str]:
    """Say it here and in the log: from these networks anybody may send as this tenant."""
    networks = public_networks(stored)
    if networks:
        maillog.open_network(stored.tenant_id, stored.username, ",".join(networks))
    return [f"networks: {text} is not private: anybody in it may send" for text in networks]


def credential_of(
    given: CredentialInput, tenant_id: str, kind: SecretKind, hashed: str
) -> Credential:
    return Credential(
        username=given.username,
        tenant_id=tenant_id,
        secret_kind=kind,
        secret_hash=hashed,
        senders=tuple(given.senders),
        accounts=tuple(given.accounts),
        networks=tuple(given.networks),
        legacy=given.legacy,
        active=given.active,
    )


def output_of(item: Credential) -> CredentialOutput:
    return CredentialOutput.model_construct(
        username=item.username,
        tenant_id=item.tenant_id,
        senders=list(item.senders),
        accounts=list(item.accounts),
        networks=list(item.networks),
        legacy=item.legacy,
        active=item.active,
        created_at=item.created_at,
    )


ROUTES = (
    Route(
        "POST",
        "/credential",
        save_credential,
        Access.TENANT,
        "Make an SMTP login, or replace it whole; a password not given is made and shown once",
        answer=CredentialMade,
        body=CredentialInput,
        failures={404: "No such tenant", 409: "The user name is taken"},
    ),
    Route(
        "GET",
        "/credentials",
        list_credentials,
        Access.TENANT,
        "List a tenant's SMTP logins, without their secrets",
        answer=Credentials,
        query=TenantPage,
    ),
    Route(
        "DELETE",
        "/credential/{username}",
        delete_credential,
        Access.TENANT,
        "Delete an SMTP login",
        answer=Ok,
        query=OfTenant,
        failures={404: "No such login of this tenant"},
    ),
)
