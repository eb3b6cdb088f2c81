"""The instance: its name, and the mailbox that bounces come to; POST /instance/reload-bounce."""

from dataclasses import fields, replace

from admin_api.problems import Answer
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.instance import (
    BounceStatus,
    InstanceChange,
    InstanceChanged,
    InstanceOutput,
)
from admin_api.schemas.model import Ok
from admin_api.services import Services
from relay.store.instance import BounceMailbox, InstanceSettings
from relay.store.mailbox import INSTANCE
from relay.store.mailboxes import Standing

_DEFAULTS = BounceMailbox()
_BOUNCE = frozenset(field.name for field in fields(BounceMailbox))
_SHOWN = _BOUNCE - {"bounce_imap_password"}


async def show_instance(services: Services, _call: Call) -> Answer:
    stored = await services.instance.read()
    values = {name: getattr(stored.bounce, name) for name in _SHOWN}
    name = stored.name or services.settings.instance_name
    standing = await services.mailboxes.standing(INSTANCE)
    return Answer(
        shown(
            InstanceOutput.model_construct(
                name=name, bounce_status=standing and bounce_status(standing), **values
            )
        )
    )


def bounce_status(standing: Standing) -> BounceStatus:
    return BounceStatus(
        last_ok_ts=standing.looked_at,
        failures=standing.failures,
        failing_since_ts=standing.failing_since,
        error=standing.error,
        next_look_ts=standing.due_at if standing.failures else None,
    )


async def change_instance(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(InstanceChange)
    await services.instance.change(lambda stored: changed(stored, given))
    return Answer(shown(InstanceChanged(warnings=warnings), omit=frozenset({"warnings"})))


async def reload_bounce(services: Services, _call: Call) -> Answer:
    await services.mailboxes.make_due()
    return Answer({"ok": True})


def changed(stored: InstanceSettings, given: InstanceChange) -> InstanceSettings:
    """Return the settings with the given ones in their place, and the default for each null."""
    names = given.model_fields_set
    values = {
        name: getattr(_DEFAULTS if getattr(given, name) is None else given, name)
        for name in names & _BOUNCE
    }
    name = given.name if "name" in names else stored.name
    return InstanceSettings(name, replace(stored.bounce, **values))


ROUTES = (
    Route(
        "GET",
        "/instance",
        show_instance,
        Access.ADMIN,
        "Show the instance",
        answer=InstanceOutput,
    ),
    Route(
        "PUT",
        "/instance",
        change_instance,
        Access.ADMIN,
        "Change the instance",
        description="The name is shown only. The password of the bounce mailbox is kept sealed and"
        " never given back. The mailbox is read by what is set within seconds; at once after"
        " POST /instance/reload-bounce.",
        answer=InstanceChanged,
        body=InstanceChange,
    ),
    Route(
        "POST",
        "/instance/reload-bounce",
        reload_bounce,
        Access.ADMIN,
        "Look into every mailbox at once, as its settings are now",
        description="Those of accounts too, and those that rest because they could not be read.",
        answer=Ok,
    ),
)
