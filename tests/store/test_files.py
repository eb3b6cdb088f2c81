"""Files that are linked from mails: noted, found, and removed when they have ended."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from relay.attachments.offload.depot import Depot
from relay.attachments.offload.expiry import AT_ONCE, GIVE_UP_S, remove_ended
from relay.attachments.offload.pace import Pace
from relay.attachments.offload.storages import Storages
from relay.crypto import Keyring
from relay.model import Tenant
from relay.store.accounts import AccountStore
from relay.store.credentials import CredentialStore
from relay.store.database import Database, Query, Script
from relay.store.destroy import destroy
from relay.store.directory import Directory
from relay.store.files import FileStore, StoredFile
from relay.store.tenants import TenantStore


@pytest.fixture
def files(db: Database) -> FileStore:
    return FileStore(db)


@pytest.fixture
def tenants(db: Database) -> TenantStore:
    return TenantStore(db, Keyring([bytes(32)]))


@pytest.fixture
def depot(db: Database, tenants: TenantStore, files: FileStore) -> Depot:
    accounts = AccountStore(db, Keyring([bytes(32)]))
    directory = Directory(db, tenants, accounts, CredentialStore(db), time.monotonic)
    return Depot(files, Storages(Pace(1, 100_000)), directory)


def stuck_in(folder: Path) -> str:
    """Return a storage that lets nothing be removed."""
    (folder / "blocked").write_text("no folder")
    return f"file://{folder}/blocked"


def a_file(folder: Path, name: str = "a", ends_in_s: float = -1) -> StoredFile:
    """Make a file that is in the folder, and ended a second ago."""
    (folder / "acme").mkdir(exist_ok=True)
    (folder / "acme" / name).write_bytes(b"x")
    now = time.time()
    return StoredFile(
        id=name,
        tenant_id="acme",
        message_pk="pk",
        storage=f"file://{folder}",
        key=f"acme/{name}",
        name=name,
        mime_type="text/plain",
        size_bytes=1,
        sha256="x",
        created_at=now - 10,
        expires_at=now + ends_in_s,
    )


async def test_a_file_that_is_stored_again_is_the_same_one(
    files: FileStore, tmp_path: Path
) -> None:
    file = a_file(tmp_path)
    await files.note(file)
    later = replace(file, expires_at=file.expires_at + 100, created_at=file.created_at + 100)
    await files.note(later)
    assert await files.find("a") == replace(later, created_at=file.created_at)
    assert await files.ended(10) == []
    assert await files.find("b") is None


async def test_what_has_ended_is_removed_and_forgotten(
    depot: Depot, files: FileStore, tmp_path: Path
) -> None:
    await files.note(a_file(tmp_path, "old"))
    await files.note(a_file(tmp_path, "new", ends_in_s=60))
    await remove_ended(depot)
    assert await files.find("old") is None
    assert await files.find("new")
    assert [path.name for path in (tmp_path / "acme").iterdir()] == ["new"]


async def test_a_round_removes_so_many_and_the_next_the_rest(
    depot: Depot, files: FileStore, tmp_path: Path
) -> None:
    for n in range(AT_ONCE + 1):
        await files.note(a_file(tmp_path, f"f{n}"))
    await remove_ended(depot)
    assert len(list((tmp_path / "acme").iterdir())) == 1
    await remove_ended(depot)
    assert list((tmp_path / "acme").iterdir()) == []


async def test_one_that_cannot_be_removed_holds_up_no_other_and_is_tried_again(
    depot: Depot, files: FileStore, tmp_path: Path
) -> None:
    stuck = replace(a_file(tmp_path, "stuck", ends_in_s=-5), storage=stuck_in(tmp_path))
    await files.note(stuck)
    await files.note(a_file(tmp_path, "fine"))
    await remove_ended(depot)
    assert await files.find("fine") is None
    assert await files.find("stuck")
    assert await files.ended(10) == []


async def test_one_that_can_never_be_removed_is_given_up(
    depot: Depot, files: FileStore, tmp_path: Path
) -> None:
    long_ago = time.time() - GIVE_UP_S - 60
    stuck = replace(
        a_file(tmp_path, "stuck"),
        storage=stuck_in(tmp_path),
        created_at=long_ago,
        expires_at=long_ago,
    )
    await files.note(stuck)
    await remove_ended(depot)
    assert await files.find("stuck") is None


async def test_the_files_of_a_tenant_that_is_destroyed_end(
    db: Database, tenants: TenantStore, depot: Depot, files: FileStore, tmp_path: Path
) -> None:
    await tenants.save(Tenant("acme", "Acme"))
    await files.note(a_file(tmp_path, ends_in_s=1000))
    await destroy(db, "acme")
    assert [file.id for file in await files.ended(10)] == ["a"]
    await remove_ended(depot)
    assert list((tmp_path / "acme").iterdir()) == []


async def test_a_config_that_was_stored_before_they_were_sealed_is_read(
    db: Database, tenants: TenantStore
) -> None:
    await tenants.save(Tenant("acme", "Acme", large_file_config={"enabled": True}))

    def unsealed() -> Script[None]:
        yield Query("UPDATE tenants SET large_file_config = $1", ('{"enabled": false}',))

    await db.write(unsealed)
    tenant = await tenants.find("acme")
    assert tenant
    assert tenant.large_file_config == {"enabled": False}
