"""/tenant, /tenants: who owns everything else."""

from dataclasses import fields, replace

from admin_api import cursors
from admin_api.problems import Answer, not_found
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.model import Ok
from admin_api.schemas.tenant import (
    ClientAuth,
    ShownAuth,
    TenantChange,
    TenantFields,
    TenantInput,
    TenantMade,
    TenantOutput,
    Tenants,
    TenantsQuery,
)
from admin_api.services import Services
from relay.model import Tenant

_SOMETIMES = frozenset({"next_cursor", "warnings", "api_key"})
# A tenant must not lift what its operator set for it.
_OPERATORS = frozenset({"active", "weight", "rate_limits"})
_KNOWN = frozenset(field.name for field in fields(Tenant))


async def save_tenant(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(TenantInput)
    tenant = changed(Tenant(given.id, given.id), given, set(TenantFields.model_fields))
    is_new = await services.tenants.save(tenant)
    key = await services.tenants.new_key(tenant.id) if is_new else None
    return Answer(shown(TenantMade(api_key=key, warnings=warnings), omit=_SOMETIMES))


async def list_tenants(services: Services, call: Call) -> Answer:
    query = call.read_query(TenantsQuery)
    stored = [t for t in await services.tenants.all() if t.active or not query.active_only]
    page, following = cursors.cut(stored, lambda t: t.id, query.limit, query.cursor)
    answer = Tenants(tenants=[output_of(tenant) for tenant in page], next_cursor=following)
    return Answer(shown(answer, omit=_SOMETIMES))


async def show_tenant(services: Services, call: Call) -> Answer:
    return Answer(shown(output_of(await _own(services, call))))


async def change_tenant(services: Services, call: Call) -> Answer:
    tenant = await _own(services, call)
    given, warnings = call.read_body(TenantChange)
    if given.model_fields_set & _OPERATORS:
        call.caller.require_admin()
    await services.tenants.save(changed(tenant, given, given.model_fields_set))
    return Answer(shown(Ok(warnings=warnings), omit=_SOMETIMES))


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
        values["large_file_config"] = given.large_file_config.model_dump(exclude_unset=True)
    return replace(tenant, **values)


def output_of(tenant: Tenant) -> TenantOutput:
    values = {name: getattr(tenant, name) for name in TenantOutput.model_fields}
    values["suspended_batches"] = list(tenant.suspended_batches)
    auth = tenant.client_auth
    values["client_auth"] = auth and ShownAuth(method=auth["method"], user=auth.get("user"))
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
        failures={404: "No such tenant, or another than the key's"},
    ),
)
