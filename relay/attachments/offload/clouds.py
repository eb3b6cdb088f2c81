"""S3, Google Cloud Storage, Azure Blob Storage. The home of obstore (the extra `storage`).

What a storage URL does not say, obstore takes from the usual variables of each cloud; S3 is asked
with the bucket in the path, as emulators and most servers of others want it. An upload is whole or
is not there.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from relay import maillog
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.place import Place, Scheme
from relay.errors import StorageUnavailable
from relay.formats.disposition import attachment_disposition
from relay.store.files import StoredFile

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

# Up to this a file is sent by one request, and held in memory for it.
SINGLE_REQUEST_BYTES = 8 * 1024 * 1024
# Parts of a bigger one that are under way at once, 5 MB each.
PARTS_AT_ONCE = 2
CONNECT_S = 10


class CloudStorage:
    def __init__(self, place: Place, pace: Pace) -> None:
        """Raise StorageUnavailable where the place or its login cannot be right."""
        self._place = place
        self._pace = pace
        try:
            self._store = open_store(place, pace)
        except (BaseError, OSError, ValueError) as error:
            raise self._trouble(error) from None

    async def put(self, file: StoredFile, pieces: Iterator[bytes]) -> None:
        """Store it. Raises StorageUnavailable."""
        is_small = file.size_bytes <= SINGLE_REQUEST_BYTES
        try:
            async with asyncio.timeout(self._pace.for_bytes(file.size_bytes)):
                await obstore.put_async(
                    self._store,
                    file.key,
                    await asyncio.to_thread(b"".join, pieces) if is_small else pieces,
                    attributes={
                        "Content-Disposition": attachment_disposition(file.name),
                        "Content-Type": file.mime_type,
                    },
                    use_multipart=not is_small,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except (BaseError, OSError) as error:
            raise self._trouble(error) from None

    async def remove(self, file: StoredFile) -> None:
        """Remove it; one that is gone already is fine. Raises StorageUnavailable."""
        try:
            async with asyncio.timeout(self._pace.timeout_s):
                await obstore.delete_async(self._store, file.key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise self._trouble(error) from None

    async def sign(self, file: StoredFile, lasts_s: float) -> str:
        """Return a URL by which anybody may read it for so long. Raises StorageUnavailable."""
        try:
            async with asyncio.timeout(self._pace.timeout_s):
                return await obstore.sign_async(
                    self._store, "GET", file.key, timedelta(seconds=int(lasts_s))
                )
        except (BaseError, OSError) as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> StorageUnavailable:
        # Its own text has the whole answer of the server in it.
        detail = self._place.blot(str(error)).partition("\n")[0][:300]
        maillog.storage_trouble(self._place.masked, f"{type(error).__name__}: {detail}")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
            return StorageUnavailable("the storage for large files denies access")
        if isinstance(error, NotFoundError | FileNotFoundError):
            return StorageUnavailable("the storage for large files does not exist")
        return StorageUnavailable("the storage for large files cannot be used now")


def open_store(place: Place, pace: Pace) -> S3Store | AzureStore | GCSStore:
    # An endpoint says itself whether it is http.
    client: ClientConfig = {
        "allow_http": True,
        "connect_timeout": f"{CONNECT_S}s",
        "timeout": f"{pace.for_bytes(SINGLE_REQUEST_BYTES):.0f}s",
    }
    retry: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=pace.timeout_s)}
    prefix = place.folder or None
    if place.scheme is Scheme.S3:
        s3 = s3_config(place)
        return S3Store(
            place.bucket, prefix=prefix, config=s3, client_options=client, retry_config=retry
        )
    if place.scheme is Scheme.AZ:
        az = az_config(place)
        return AzureStore(
            place.bucket, prefix=prefix, config=az, client_options=client, retry_config=retry
        )
    gs = gs_config(place)
    return GCSStore(
        place.bucket, prefix=prefix, config=gs, client_options=client, retry_config=retry
    )


def s3_config(place: Place) -> "S3Config":
    config: S3Config = {}
    if place.user is not None and place.secret is not None:
        config |= {"access_key_id": place.user, "secret_access_key": place.secret}
    if token := place.option("session_token"):
        config["session_token"] = token
    if endpoint := place.option("endpoint"):
        config["endpoint"] = endpoint
    if region := place.option("region"):
        config["region"] = region
    return config


def az_config(place: Place) -> "AzureConfig":
    config: AzureConfig = {}
    if place.user is not None:
        config["account_name"] = place.user
    if place.secret is not None:
        config["account_key"] = place.secret
    if endpoint := place.option("endpoint"):
        config["endpoint"] = endpoint
    return config


def gs_config(place: Place) -> "GCSConfig":
    key = place.option("service_account_key")
    return {} if key is None else {"service_account_key": key}
