"""Moving in from databases that genro-mail-proxy 0.6.10 and 0.7.0 made, on both of its engines."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.genro.source import ACCOUNTS, opened
from cli.genro.translation import account_of
from relay.crypto import Keyring
from tests.cli import genro
from tests.cli.command import Cli
from tests.conftest import drop_database, make_database

KEY = {"MAIL_PROXY_ENCRYPTION_KEY": genro.ENCRYPTION_KEY}
BROUGHT_MAIL = {"plain", "urgent", "later", "spring-1", "certified"}


@pytest.fixture(params=[f"{v} {e}" for v in genro.VERSIONS for e in genro.ENGINES])
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each version on each engine, in turn."""
    version, engine = request.param.split()
    if engine == "sqlite":
        yield genro.sqlite_file(tmp_path / "mail.db", version)
        return
    dsn = asyncio.run(make_database(request.getfixturevalue("postgres_server")))
    yield asyncio.run(genro.postgres_database(dsn, version))
    asyncio.run(drop_database(dsn))


@pytest.fixture
def sealed(tmp_path: Path) -> str:
    """A database whose secrets are sealed."""
    return genro.sqlite_file(tmp_path / "mail.db", "0.7.0")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """An instance `prod` that does not run, and the key of `theirs`."""
    (tmp_path / "home" / "prod").mkdir(parents=True, mode=0o700)
    (tmp_path / "home" / "prod" / "pillarbox.toml").touch()
    return Cli(tmp_path / "home", dict(KEY))


def moved(cli: Cli, database: str, *options: str) -> Any:
    """Move in; some things are skipped."""
    shown = cli("import-genro", database, "prod", "--json", *options)
    assert shown.code == 1, shown
    return shown.json


def messages(cli: Cli, tenant_id: str = "acme") -> dict[str, Any]:
    listed = cli.ok("prod", tenant_id, "messages", "list", "--json").json
    return {each["id"]: each for each in listed}


def test_everything_that_can_be_is_brought(cli: Cli, theirs: str) -> None:
    done = moved(cli, theirs)
    assert done["tenants"] == {"brought": 2, "already_there": 0, "skipped": 0}
    assert done["accounts"] == {"brought": 3, "already_there": 0, "skipped": 0}
    assert done["messages"] == {"brought": 5, "already_there": 0, "skipped": 3}
    assert done["unreported"] == 2
    tenant = cli.ok("prod", "tenants", "show", "acme", "--json").json
    assert (tenant["name"], tenant["client_sync_path"]) == ("Acme", "/reports")
    assert tenant["client_auth"] == {"method": "bearer", "user": None}
    assert tenant["rate_limits"] == {"hourly": 100}
    assert tenant["suspended_batches"] == ["spring"]
    assert cli.ok("prod", "tenants", "show", "rival", "--json").json["active"] is False
    account = cli.ok("prod", "acme", "accounts", "show", "main", "--json").json
    assert (account["host"], account["tls"], account["limit_behavior"]) == (
        "smtp.acme.test",
        "starttls",
        "reject",
    )
    assert (account["limit_per_hour"], account["limit_per_minute"]) == (50, None)
    certified = cli.ok("prod", "acme", "accounts", "show", "pec", "--json").json
    assert (certified["is_pec_account"], certified["imap_user"]) == (True, "pec")


def test_waiting_mail_keeps_its_order_its_time_and_its_batch(cli: Cli, theirs: str) -> None:
    moved(cli, theirs)
    found = messages(cli)
    assert found.keys() == BROUGHT_MAIL
    assert found["urgent"]["priority"] in (0, "immediate")
    assert (found["spring-1"]["batch_code"], found["spring-1"]["status"]) == ("spring", "suspended")
    assert found["later"]["status"] == "scheduled"
    assert found["later"]["deferred_ts"] > time.time() + genro.LATER_S / 2
    assert found["certified"]["is_pec"]
    hidden = [each["address"] for each in found["spring-1"]["recipients"]]
    assert hidden == ["bob@there.test", "hidden@there.test"]


def test_what_is_not_brought_is_named_with_its_reason(cli: Cli, theirs: str) -> None:
    remarks = {each["name"]: each["text"] for each in moved(cli, theirs)["remarks"]}
    assert remarks["acme/orphan"] == "its account gone is missing"
    assert remarks["acme/broken"].startswith("to: ")
    assert remarks["rival/theirs"] == "its tenant is not active"
    assert "lifespan_after_download_days" in remarks["acme"]


def test_a_second_time_brings_nothing_twice(cli: Cli, theirs: str) -> None:
    moved(cli, theirs)
    before = {name: each["pk"] for name, each in messages(cli).items()}
    again = moved(cli, theirs)
    assert again["tenants"] == {"brought": 0, "already_there": 2, "skipped": 0}
    assert again["accounts"] == {"brought": 0, "already_there": 3, "skipped": 0}
    assert again["messages"] == {"brought": 0, "already_there": 5, "skipped": 3}
    assert {name: each["pk"] for name, each in messages(cli).items()} == before


def test_a_second_time_brings_what_was_put_right(cli: Cli, sealed: str) -> None:
    moved(cli, sealed)
    cli.ok("prod", "tenants", "update", "rival", "--active")
    assert moved(cli, sealed)["messages"] == {"brought": 1, "already_there": 5, "skipped": 2}
    assert messages(cli, "rival").keys() == {"theirs"}


def test_a_dry_run_says_the_same_and_brings_nothing(cli: Cli, theirs: str) -> None:
    expected = moved(cli, theirs, "--dry-run")
    assert cli.ok("prod", "tenants", "list", "--json").json == []
    assert {**moved(cli, theirs), "dry_run": True} == expected


def test_sealed_secrets_are_opened(theirs: str) -> None:
    keyring = Keyring.from_text(genro.ENCRYPTION_KEY)
    with opened(theirs) as source:
        accounts = {
            f"{row['tenant_id']}/{row['id']}": account_of(row, keyring)
            for row in source.rows(ACCOUNTS)
        }
    assert accounts["acme/main"]["password"] == "smtp-password"
    assert accounts["acme/pec"]["imap_password"] == "imap-password"
    assert "password" not in accounts["rival/main"]


def test_nothing_is_begun_without_the_key_of_sealed_secrets(cli: Cli, sealed: str) -> None:
    cli.variables.clear()
    shown = cli("import-genro", sealed, "prod")
    assert (shown.code, "--key-file" in shown.err) == (os.EX_CONFIG, True)
    assert cli.ok("prod", "tenants", "list", "--json").json == []


@pytest.mark.parametrize(
    "content", [b"key-key-key-key-key-key-key-key!", genro.ENCRYPTION_KEY.encode()]
)
def test_the_key_may_be_in_a_file_as_base64_or_as_it_is(
    cli: Cli, sealed: str, tmp_path: Path, content: bytes
) -> None:
    cli.variables.clear()
    (tmp_path / "key").write_bytes(content)
    done = moved(cli, sealed, "--key-file", str(tmp_path / "key"))
    assert done["accounts"]["brought"] == 3


def test_an_account_that_another_key_sealed_is_skipped_with_its_mail(
    cli: Cli, sealed: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    done = moved(cli, sealed, "--key-file", str(tmp_path / "key"))
    assert done["accounts"] == {"brought": 1, "already_there": 0, "skipped": 2}
    assert done["messages"]["brought"] == 0
    assert cli("import-genro", sealed, "prod", "--key-file", str(tmp_path)).code == 2
    (tmp_path / "key").write_bytes(b"short")
    shown = cli("import-genro", sealed, "prod", "--key-file", str(tmp_path / "key"))
    assert shown.code == os.EX_CONFIG


def test_people_see_a_table_and_what_was_skipped(cli: Cli, sealed: str) -> None:
    shown = cli("import-genro", sealed, "prod", "--dry-run")
    assert "would be brought" in shown.out
    assert "message acme/orphan not brought: its account gone is missing" in shown.err
    assert "2 outcomes were not reported" in shown.err


def test_their_database_is_not_changed(cli: Cli, sealed: str) -> None:
    before = Path(sealed).read_bytes()
    moved(cli, sealed)
    assert Path(sealed).read_bytes() == before


def test_what_is_no_such_database_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("import-genro", str(tmp_path / "none.db"), "prod").code == os.EX_NOINPUT
    (tmp_path / "text.db").write_text("not a database at all" * 100)
    assert cli("import-genro", str(tmp_path / "text.db"), "prod").code == os.EX_DATAERR
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (a)").connection.close()
    assert cli("import-genro", str(tmp_path / "empty.db"), "prod").code == os.EX_DATAERR
    assert cli("import-genro", "postgresql://127.0.0.1:1/none", "prod").code == 69
    assert cli("import-genro", str(tmp_path / "none.db"), "no-such").code == 1


def test_an_instance_that_runs_knows_the_keys_of_its_new_tenants(cli: Cli, sealed: str) -> None:
    cli.start("prod")
    try:
        moved(cli, sealed)
        status = cli.ok("status", "prod", "--json").json
        answer = httpx.get(
            f"{http_url(status)}/messages",
            params={"tenant_id": "acme"},
            headers={"X-API-Token": genro.ACME_KEY},
            trust_env=False,
        )
        assert {each["id"] for each in answer.json()["messages"]} == BROUGHT_MAIL
    finally:
        cli.process("stop", "prod")


def http_url(status: Any) -> str:
    found = {each["service"]: str(each["address"]) for each in status["listening"]}
    return found["http"]
