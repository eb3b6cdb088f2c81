"""GET and PUT /instance: the name of the instance, and the mailbox that bounces come to."""

from dataclasses import fields, replace

from admin_api.problems import Answer
from admin_api.routes import Access, Call, Route, shown
from admin_api.schemas.instance import InstanceChange, InstanceChanged, InstanceOutput
from admin_api.services import Services
from relay.store.instance import BounceMailbox, InstanceSettings

_DEFAULTS = BounceMailbox()
_BOUNCE = frozenset(field.name for field in fields(BounceMailbox))
_SHOWN = _BOUNCE - {"bounce_imap_password"}


async def show_instance(services: Services, _call: Call) -> Answer:
    stored = await services.instance.read()
    values = {name: getattr(stored.bounce, name) for name in _SHOWN}
    name = stored.name or services.settings.instance_name
    return Answer(shown(InstanceOutput.model_construct(name=name, **values)))


async def change_instance(services: Services, call: Call) -> Answer:
    given, warnings = call.read_body(InstanceChange)
    await services.instance.change(lambda stored: changed(stored, given))
    return Answer(shown(InstanceChanged(warnings=warnings), omit=frozenset({"warnings"})))


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
        description="The name is shown only. The bounce mailbox is kept, its password sealed and"
        " never given back; this version does not read the mailbox yet.",
        answer=InstanceChanged,
        body=InstanceChange,
    ),
)
