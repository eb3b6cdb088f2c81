"""What the operator asks of a node: its settings, a copy of its database, to take no more mail."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from admin_api.operation import Rekey
from admin_api.problems import Answer, Problem
from admin_api.routes import Access, Call, Route, Stream, shown
from admin_api.schemas.operation import (
    Purged,
    PurgeQuery,
    Rekeyed,
    RekeyQuery,
    SettingOutput,
    SettingsShown,
    Standing,
)
from admin_api.services import Services
from relay import maillog
from relay.errors import ConfigError, SecretDamaged
from relay.store.backup import copy_database

PIECE_BYTES = 262_144
_SOMETIMES = frozenset({"warnings"})


async def show_settings(services: Services, _call: Call) -> Answer:
    settings = [
        SettingOutput(key=each.key, value=each.value, origin=each.origin)
        for each in services.operation.settings
    ]
    return Answer(shown(SettingsShown(settings=settings), omit=_SOMETIMES))


async def drain(services: Services, _call: Call) -> Answer:
    return _standing(services, is_open=False)


async def resume(services: Services, _call: Call) -> Answer:
    return _standing(services, is_open=True)


def _standing(services: Services, *, is_open: bool) -> Answer:
    services.door.is_open = is_open
    return Answer(shown(Standing(active=services.is_active()), omit=_SOMETIMES))


async def back_up(services: Services, _call: Call) -> Stream:
    """Copy first, so that what fails is answered as a failure and not as a file that is cut."""
    source = services.operation.database_file
    if source is None:
        raise Problem(409, "the database is PostgreSQL's: copy it with pg_dump")
    folder = tempfile.TemporaryDirectory(prefix="backup-", dir=source.parent)
    copy = Path(folder.name) / "copy.db"
    try:
        await asyncio.to_thread(copy_database, source, copy)
    except BaseException:
        folder.cleanup()
        raise
    return Stream(_pieces(copy, folder), content_type="application/vnd.sqlite3")


async def _pieces(copy: Path, folder: "tempfile.TemporaryDirectory[str]") -> AsyncIterator[bytes]:
    with folder, copy.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


async def rekey(services: Services, call: Call) -> Answer:
    query = call.read_query(RekeyQuery)
    take_up = services.operation.rekey
    if take_up is None:
        raise Problem(409, "this node has no keys of its own")
    try:
        sealed = await services.uncut.run(sealing(take_up, seals=not query.only_take_up))
    except (ConfigError, SecretDamaged) as error:
        raise Problem(409, str(error)) from None
    return Answer(shown(Rekeyed(sealed=sealed), omit=_SOMETIMES))


async def sealing(take_up: Rekey, *, seals: bool) -> int:
    return await take_up(seals=seals)


async def purge_commands(services: Services, call: Call) -> Answer:
    query = call.read_query(PurgeQuery)
    await services.command_log.flush()
    removed = await services.command_log.purge(query.until)
    maillog.commands_forgotten(removed)
    return Answer(shown(Purged(removed=removed), omit=_SOMETIMES))


ROUTES = (
    Route(
        "GET",
        "/instance/settings",
        show_settings,
        Access.ADMIN,
        "Show the settings of this node, each with where its value came from; secrets are hidden",
        answer=SettingsShown,
    ),
    Route(
        "GET",
        "/instance/backup",
        back_up,
        Access.ADMIN,
        "A copy of the embedded database as it is at one moment, while mail goes on",
        description="Passwords in it are sealed with the encryption key, which is not in it.",
        answer_type="application/vnd.sqlite3",
        failures={409: "The database is PostgreSQL's, which has its own tools"},
    ),
    Route(
        "POST",
        "/commands/drain",
        drain,
        Access.ADMIN,
        "Take no more mail at this node; what it has is sent on",
        description="New mail is answered 421 by SMTP and 503 by REST, `/ready` answers 503, until"
        " `/commands/resume` or a restart.",
        answer=Standing,
    ),
    Route(
        "POST",
        "/commands/resume",
        resume,
        Access.ADMIN,
        "Take mail again at this node",
        answer=Standing,
    ),
    Route(
        "POST",
        "/commands/rekey",
        rekey,
        Access.ADMIN,
        "Seal all secrets with the first of the encryption keys, while mail goes on",
        description="The keys are read again from the key file of the instance, where they are kept"
        " there. Every other node must have taken them up before.",
        answer=Rekeyed,
        query=RekeyQuery,
        failures={409: "A secret opens with none of the keys, or they cannot be read"},
    ),
    Route(
        "DELETE",
        "/command-log",
        purge_commands,
        Access.ADMIN,
        "Forget the commands before a time; that this was done is logged",
        answer=Purged,
        query=PurgeQuery,
    ),
)
