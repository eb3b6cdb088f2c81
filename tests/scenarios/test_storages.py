"""Where large files are put: a local folder, and a Google storage on a loopback port. Amazon's and
Azure's are in tests/peers.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from relay.attachments.offload.clouds import SINGLE_REQUEST_BYTES, CloudStorage
from relay.attachments.offload.local import LocalStorage
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.place import Place, read_place
from relay.errors import StorageUnavailable
from relay.store.files import StoredFile
from tests.fakes.gcs import FakeGcs

PACE = Pace(5, 100_000)


def stored(size_bytes: int) -> StoredFile:
    return StoredFile(
        id="id",
        tenant_id="acme",
        message_pk="pk",
        storage="",
        key=f"acme/id-{size_bytes}.pdf",
        name="Übersicht.pdf",
        mime_type="application/pdf",
        size_bytes=size_bytes,
        sha256="x",
        created_at=time.time(),
        expires_at=time.time() + 60,
    )


def pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


@pytest.fixture
def gcs() -> Iterator[FakeGcs]:
    with FakeGcs() as server:
        yield server


@pytest.mark.parametrize("size_bytes", [0, 5, SINGLE_REQUEST_BYTES + 3_000_000])
async def test_google_has_the_file_whole_with_its_name_and_signs_for_it(
    gcs: FakeGcs, size_bytes: int
) -> None:
    storage = CloudStorage(read_place(gcs.storage_url("bucket", "files")), PACE)
    file, data = stored(size_bytes), bytes(size_bytes)
    await storage.put(file, pieces(data))
    found = gcs.objects[f"bucket/files/{file.key}"]
    assert (found.data == data, found.content_type) == (True, "application/pdf")
    assert found.disposition.startswith("attachment;")
    assert "%C3%9Cbersicht.pdf" in found.disposition
    url = httpx.URL(await storage.sign(file, 3600))
    assert url.path == f"/bucket/files/{file.key}"
    assert url.params["X-Goog-Expires"] == "3600"
    await storage.remove(file)
    await storage.remove(file)
    assert not gcs.objects


@pytest.mark.parametrize(("status", "says"), [(403, "denies"), (404, "not exist"), (500, "used")])
async def test_a_cloud_that_does_not_take_a_file_is_trouble_that_passes(
    gcs: FakeGcs, status: int, says: str
) -> None:
    gcs.refuse_with = status
    storage = CloudStorage(read_place(gcs.storage_url("bucket", "files")), Pace(0.5, 100_000))
    with pytest.raises(StorageUnavailable, match=says) as raised:
        await storage.put(stored(5), pieces(b"12345"))
    assert "127.0.0.1" not in str(raised.value)


async def test_a_cloud_that_is_not_there_is_trouble_that_passes() -> None:
    place = read_place("s3://a:b@bucket?endpoint=http://127.0.0.1:9&region=r")
    with pytest.raises(StorageUnavailable):
        await CloudStorage(place, Pace(0.5, 100_000)).put(stored(5), pieces(b"12345"))


async def test_a_key_that_is_none_is_trouble_that_passes() -> None:
    with pytest.raises(StorageUnavailable):
        CloudStorage(read_place("gs://bucket?service_account_key=nonsense"), PACE)


def local_place(folder: Path) -> Place:
    return read_place(f"file://{folder}")


async def test_a_folder_has_the_file_whole_and_for_this_user_only(tmp_path: Path) -> None:
    storage, file = LocalStorage(local_place(tmp_path / "deep" / "files")), stored(300_000)
    await storage.put(file, pieces(b"x" * 300_000))
    path = tmp_path / "deep" / "files" / file.key
    assert path.read_bytes() == b"x" * 300_000
    assert path.stat().st_mode & 0o077 == 0
    opened = await storage.open(file)
    assert opened
    opened.close()
    await storage.remove(file)
    await storage.remove(file)
    assert await storage.open(file) is None


async def test_half_a_file_is_none(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError(5, "Input/output error")

    with pytest.raises(StorageUnavailable):
        await LocalStorage(local_place(tmp_path)).put(stored(8), broken())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
