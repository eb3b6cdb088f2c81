"""Sealing all secrets anew, on both engines."""

import pytest

from relay.crypto import Keyring
from relay.errors import SecretDamaged
from relay.model import Account, FetchMode, NewAttachment, Tenant
from relay.store.accounts import AccountStore
from relay.store.attachments import AttachmentStore, Given
from relay.store.database import Database
from relay.store.instance import BounceMailbox, InstanceSettings, InstanceStore, check_key
from relay.store.rekey import reseal
from relay.store.tenants import TenantStore
from tests.store.conftest import new_spool, put

OLD, NEW = bytes(32), bytes([1] * 32)


async def fill(db: Database, keyring: Keyring) -> None:
    await check_key(db, keyring)
    for n in range(3):
        tenant = Tenant(
            f"t{n}",
            f"t{n}",
            client_auth={"method": "bearer", "token": f"token {n}"},
            large_file_config={"storage_url": f"s3://key{n}:secret@bucket"},
        )
        await TenantStore(db, keyring).save(tenant)
        for m in range(2):
            account = Account(f"t{n}", f"a{m}", "up.test", 25, user="u", password=f"pass {n} {m}")
            await AccountStore(db, keyring).save(account)
    mailbox = BounceMailbox(bounce_imap_password="imap")
    await InstanceStore(db, keyring).change(lambda _stored: InstanceSettings(None, mailbox))
    await give_files(db, keyring)


async def give_files(db: Database, keyring: Keyring) -> None:
    """Store a mail with three files that are to be fetched with a login."""
    missing = [
        NewAttachment(
            n, FetchMode.HTTP_URL, "f", "text/plain", "attachment", source="http://x.test/"
        )
        for n in range(3)
    ]
    given = [Given(file, {"method": "bearer", "token": f"file {file.n}"}) for file in missing]
    files = AttachmentStore(db, keyring).sealed(given, "t0", "m1")
    spool = new_spool(db, "node-1")
    await spool.start()
    await put(spool, id="m1", tenant_id="t0", attachments=files, is_prepared=False)
    await spool.close()


async def test_every_secret_opens_with_the_new_key_alone(
    db: Database,
) -> None:
    await fill(db, Keyring([OLD]))
    both, new = Keyring([NEW, OLD]), Keyring([NEW])
    assert await reseal(db, both, portion=2) == 3 + 3 + 6 + 3 + 1
    await check_key(db, new)
    assert [t.client_auth for t in await TenantStore(db, new).all()] == [
        {"method": "bearer", "token": f"token {n}"} for n in range(3)
    ]
    configs = [t.large_file_config for t in await TenantStore(db, new).all()]
    assert configs == [{"storage_url": f"s3://key{n}:secret@bucket"} for n in range(3)]
    rows = await db.fetch("SELECT n, auth FROM attachments ORDER BY n")
    opened = [new.open(row["auth"], where=f"attachments/t0/m1/{row['n']}/auth") for row in rows]
    assert opened == [f'{{"method": "bearer", "token": "file {n}"}}' for n in range(3)]
    accounts = await AccountStore(db, new).of_tenant("t2")
    assert [account.password for account in accounts] == ["pass 2 0", "pass 2 1"]
    assert (await InstanceStore(db, new).read()).bounce.bounce_imap_password == "imap"
    assert await reseal(db, both) == 0


async def test_a_secret_that_opens_with_no_key_is_left_as_it_is(db: Database) -> None:
    await fill(db, Keyring([OLD]))
    with pytest.raises(SecretDamaged):
        await reseal(db, Keyring([NEW]))
    assert (await AccountStore(db, Keyring([OLD])).of_tenant("t0"))[0].password == "pass 0 0"


async def test_no_sealed_column_is_forgotten(db: Database) -> None:
    """What is sealed somewhere else than the tables that are known here would be lost."""
    await fill(db, Keyring([OLD]))
    await reseal(db, Keyring([NEW, OLD]))
    mark = f"pbx1:{Keyring([OLD])!r}".replace("Keyring(", "").rstrip(")")
    for table in ("tenants", "accounts", "instance", "credentials", "attachments", "files"):
        for row in await db.fetch(f"SELECT * FROM {table}"):
            values = [row[i] for i in range(len(row))]  # type: ignore[arg-type]
            assert mark not in str(values)
