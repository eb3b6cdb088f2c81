"""The storages that are open: one for each place and login, the latest used ones kept."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from relay.attachments.offload.local import LocalStorage
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.place import Place, Scheme
from relay.errors import StorageUnavailable
from relay.store.files import StoredFile

if TYPE_CHECKING:
    from relay.attachments.offload.clouds import CloudStorage

MOST_OPEN = 64


class Storage(Protocol):
    """Each method raises StorageUnavailable."""

    async def put(self, file: StoredFile, pieces: Iterator[bytes]) -> None: ...

    async def remove(self, file: StoredFile) -> None: ...


class Storages:
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._clouds: dict[Place, CloudStorage] = {}

    def at(self, place: Place) -> Storage:
        """Open a place. Raises StorageUnavailable."""
        return self.local(place) if place.scheme is Scheme.FILE else self.cloud(place)

    def local(self, place: Place) -> LocalStorage:
        return LocalStorage(place)

    def cloud(self, place: Place) -> "CloudStorage":
        """Open a cloud's storage, or return the open one. Raises StorageUnavailable."""
        cloud = self._clouds.pop(place, None) or open_cloud(place, self._pace)
        self._clouds[place] = cloud
        if len(self._clouds) > MOST_OPEN:
            del self._clouds[next(iter(self._clouds))]
        return cloud


def open_cloud(place: Place, pace: Pace) -> "CloudStorage":
    try:
        # An extra, and slow to load: only those who use a cloud pay for it.
        from relay.attachments.offload.clouds import CloudStorage  # noqa: PLC0415
    except ImportError as error:
        raise StorageUnavailable(
            f"{place.scheme}:// needs the extra: pip install 'pillarbox[storage]'"
        ) from error
    return CloudStorage(place, pace)
