"""Files that have ended are removed, wherever they are.

A storage that does not let us is asked again later, and in the end no more: then the file stays
there, and the log says so.
"""

from relay import maillog
from relay.attachments.offload.depot import Depot
from relay.errors import StorageUnavailable, Temporary
from relay.store.files import StoredFile

AT_ONCE = 100
ASK_AGAIN_S = 3600.0
GIVE_UP_S = 7 * 86_400.0


async def remove_ended(depot: Depot) -> None:
    """Remove one portion of what has ended."""
    for file in await depot.files.ended(AT_ONCE):
        try:
            place = await depot.place_of(file)
            await depot.storages.at(place).remove(file)
        except StorageUnavailable as error:
            await put_off(depot, file, error)
        except Temporary:
            raise
        except Exception as error:  # noqa: BLE001 - one file must not keep the others from their end
            maillog.unexpected("large_files", error)
            await put_off(depot, file, error)
        else:
            await depot.files.forget([file.id])


async def put_off(depot: Depot, file: StoredFile, error: Exception) -> None:
    now = depot.files.now()
    if now > max(file.expires_at, file.created_at) + GIVE_UP_S:
        maillog.storage_trouble(file.storage, f"{file.key} is left there: {error}")
        await depot.files.forget([file.id])
    else:
        await depot.files.postpone(file.id, now + ASK_AGAIN_S)
