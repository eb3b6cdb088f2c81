"""/tenant, /tenants: who owns everything else."""

from dataclasses import fields, replace

from admin_api import cursors
from admin_api.problems import Answer, Problem, invalid, not_found
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.model import Ok
from admin_api.schemas.tenant import (
    ClientAuth,
    DeleteTenantQuery,
    KeyInput,
    KeyMade,
    KeysRevoked,
    ShownAuth,
    SyncStatus,
    TenantChange,
    TenantDestroyed,
    TenantFields,
    TenantInput,
    TenantMade,
    TenantOutput,
    Tenants,
    TenantsQuery,
    TenantSync,
)
from admin_api.services import Services
from relay.attachments.offload.policy import masked, unmasked
from relay.errors import NotFound
from relay.model import Tenant
from relay.store.destroy import StillSending, belongings, destroy
from relay.store.outbox import Standing
from relay.store.tenants import BroughtKey

_SOMETIMES = frozenset({"next_cursor", "warnings", "api_key", "expires_at", "dry_run"})
# A tenant must not lift what its operator set for it.
_OPERATORS = frozenset({"active", "weight", "rate_limits"})
_KNOWN = frozenset(field.name for field in fields(Tenant))


async def save_tenant(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(TenantInput)
    stored = await services.tenants.find(given.id)
    # What is replaced, too, may be given back as it was shown.
    config = stored.large_file_config if stored else None
    blank = Tenant(given.id, given.id, large_file_config=config)
    tenant = changed(blank, given, set(TenantFields.model_fields))
    brought = given.api_key_hash and BroughtKey(given.api_key_hash, given.api_key_expires_at)
    key = await services.tenants.open(tenant, brought or None)
    return Answer(shown(TenantMade(api_key=key, warnings=warnings), omit=_SOMETIMES))


async def list_tenants(services: Services, call: Call) -> Answer:
    query = call.read_query(TenantsQuery)
    stored = [t for t in await services.tenants.all() if t.active or not query.active_only]
    page, following = cursors.cut(stored, lambda t: t.id, query.limit, query.cursor)
    answer = Tenants(tenants=[output_of(tenant) for tenant in page], next_cursor=following)
    return Answer(shown(answer, omit=_SOMETIMES))


async def sync_status(services: Services, _call: Call) -> Answer:
    now = services.database.now()
    standings = await services.outbox.standings()
    statuses = [_sync_of(t, standings.get(t.id), now) for t in await services.tenants.all()]
    interval_s = int(services.settings.sync_interval_s)
    answer = SyncStatus(tenants=statuses, sync_interval_seconds=interval_s)
    return Answer(shown(answer, omit=_SOMETIMES))


def _sync_of(tenant: Tenant, standing: Standing | None, now: float) -> TenantSync:
    """Say when a tenant was called and whether it is to be; one without a URL never is."""
    synced_at = standing.last_sync_at if standing else None
    return TenantSync(
        id=tenant.id,
        name=tenant.name,
        active=tenant.active,
        client_base_url=tenant.client_base_url,
        last_sync_ts=None if synced_at is None else int(synced_at),
        next_sync_due=standing is not None and standing.beat_at <= now,
        in_dnd=standing is not None and standing.quiet_until > now,
    )


async def show_tenant(services: Services, call: Call) -> Answer:
    return Answer(shown(output_of(await _own(services, call))))


async def change_tenant(services: Services, call: Call) -> Answer:
    tenant = await _own(services, call)
    given, warnings = call.read_body(TenantChange)
    if given.model_fields_set & _OPERATORS:
        call.caller.require_admin()
    after = changed(tenant, given, given.model_fields_set)
    # It may be a folder of this machine, and a cloud is asked with the operator's own login.
    if storage_of(after) not in (None, storage_of(tenant)):
        call.caller.require_admin()
    await services.tenants.save(after)
    return Answer(shown(Ok(warnings=warnings), omit=_SOMETIMES))


async def delete_tenant(services: Services, call: Call) -> Answer:
    query = call.read_query(DeleteTenantQuery)
    tenant_id = call.path["id"]
    try:
        owned = await belongings(services.database, tenant_id)
        if owned.queued and not query.force and not query.dry_run:
            error = "mail is queued: force=true destroys it"
            raise Problem(409, {"error": error, "destroyed": dict(owned.counts)})
        if not query.dry_run:
            await services.uncut.run(destroy(services.database, tenant_id))
    except NotFound:
        raise not_found("tenant") from None
    except StillSending:
        error = "mail is being sent: the tenant is inactive now, delete it again"
        raise Problem(409, {"error": error, "destroyed": {}}) from None
    answer = TenantDestroyed(destroyed=dict(owned.counts), dry_run=query.dry_run or None)
    return Answer(shown(answer, omit=_SOMETIMES))


async def make_key(services: Services, call: Call) -> Answer:
    given, warnings = call.read_optional_body(KeyInput)
    if given.expires_at is not None and given.expires_at <= services.database.now():
        raise invalid("body", "this time has passed", "expires_at")
    grace_s = given.grace_s or 0.0
    try:
        key = await services.tenants.new_key(call.path["id"], given.expires_at, grace_s)
    except NotFound:
        raise not_found("tenant") from None
    answer = KeyMade(api_key=key, expires_at=given.expires_at, warnings=warnings)
    return Answer(shown(answer, omit=_SOMETIMES))


async def revoke_key(services: Services, call: Call) -> Answer:
    try:
        revoked = await services.tenants.revoke_keys(call.path["id"])
    except NotFound:
        raise not_found("tenant") from None
    return Answer(shown(KeysRevoked(revoked=revoked), omit=_SOMETIMES))


async def _own(services: Services, call: Call) -> Tenant:
    """Return the tenant that the path names; another's looks the same as none."""
    asked = call.path["id"]
    tenant = None
    if call.caller.is_admin or call.caller.tenant_id == asked:
        tenant = await services.tenants.find(asked)
    if tenant is None:
        raise not_found("tenant")
    return tenant


def changed(tenant: Tenant, given: TenantFields, names: set[str]) -> Tenant:
    """Return the tenant with the named fields as given; a name that is null becomes the id."""
    values = {name: getattr(given, name) for name in names & _KNOWN - {"id"}}
    if "name" in values:
        values["name"] = values["name"] or tenant.id
    if "client_auth" in values:
        values["client_auth"] = _stored_auth(given.client_auth)
    if given.rate_limits is not None and "rate_limits" in values:
        values["rate_limits"] = given.rate_limits.model_dump(exclude_none=True)
    if given.large_file_config is not None and "large_file_config" in values:
        config = given.large_file_config.model_dump(exclude_unset=True)
        values["large_file_config"] = unmasked(config, tenant.large_file_config)
    return replace(tenant, **values)


def storage_of(tenant: Tenant) -> object:
    return (tenant.large_file_config or {}).get("storage_url")


def output_of(tenant: Tenant) -> TenantOutput:
    values = {name: getattr(tenant, name) for name in TenantOutput.model_fields}
    values["suspended_batches"] = list(tenant.suspended_batches)
    auth = tenant.client_auth
    values["client_auth"] = auth and ShownAuth(method=auth["method"], user=auth.get("user"))
    values["large_file_config"] = tenant.large_file_config and masked(tenant.large_file_config)
    return TenantOutput.model_construct(**values)


def _stored_auth(given: ClientAuth | None) -> dict[str, str] | None:
    return None if given is None else given.model_dump(exclude_none=True)


ROUTES = (
    Route(
        "POST",
        "/tenant",
        save_tenant,
        Access.ADMIN,
        "Make a tenant and its API key, or replace the settings of one that exists",
        answer=TenantMade,
        body=TenantInput,
    ),
    Route(
        "GET",
        "/tenants",
        list_tenants,
        Access.ADMIN,
        "List the tenants",
        answer=Tenants,
        query=TenantsQuery,
    ),
    Route(
        "GET",
        "/tenants/sync-status",
        sync_status,
        Access.ADMIN,
        "When each tenant was last called with its reports, and whether a call is due",
        answer=SyncStatus,
    ),
    Route(
        "GET",
        "/tenant/{id}",
        show_tenant,
        Access.TENANT,
        "Show a tenant, without its secrets",
        answer=TenantOutput,
        failures={404: "No such tenant, or another than the key's"},
    ),
    Route(
        "PUT",
        "/tenant/{id}",
        change_tenant,
        Access.TENANT,
        "Change what is given; active, weight and rate_limits are the admin's to change",
        answer=Ok,
        body=TenantChange,
        failures={
            403: "The admin token is required for what is given",
            404: "No such tenant, or another than the key's",
        },
    ),
    Route(
        "DELETE",
        "/tenant/{id}",
        delete_tenant,
        Access.ADMIN,
        "Destroy a tenant with everything that is its own",
        description="The answer counts what went: messages, of them the ones still queued, events"
        " that were not reported, accounts, SMTP logins, receipts of certified mail, which are"
        " proof: download them before. While mail is queued it needs"
        " `force=true`; `dry_run=true` only counts. Mail that an upstream is being offered is"
        " waited for, ten seconds at most.",
        answer=TenantDestroyed,
        query=DeleteTenantQuery,
        failures={404: "No such tenant", 409: "Mail is queued, or is being sent"},
    ),
    Route(
        "POST",
        "/tenant/{id}/api-key",
        make_key,
        Access.ADMIN,
        "Make a tenant's API key in place of the one it has",
        description="The earlier key ends at once, or after `grace_s` seconds. The new one is shown"
        " this once.",
        answer=KeyMade,
        body=KeyInput,
        body_is_optional=True,
        failures={404: "No such tenant"},
    ),
    Route(
        "DELETE",
        "/tenant/{id}/api-key",
        revoke_key,
        Access.ADMIN,
        "Revoke all API keys of a tenant at once",
        answer=KeysRevoked,
        failures={404: "No such tenant"},
    ),
)
