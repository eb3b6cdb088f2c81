"""What operators do: check, back up, drain, change settings, the token and the key."""

import smtplib
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme

from cli.findings import certificate
from tests.cli.command import Cli


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """An instance that runs on the embedded engine, with a tenant whose mail is kept."""
    cli = Cli(tmp_path_factory.mktemp("home"))
    cli.start("prod")
    cli.ok("prod", "tenants", "add", "acme")
    cli.ok("prod", "acme", "accounts", "add", "main", "--kind", "capture")
    yield cli
    assert cli.process("stop", "prod").code == 0


def rest_url(cli: Cli) -> str:
    return str(cli.ok("list", "--json").json[0]["http"])


def test_the_token_is_shown_and_a_new_one_counts_at_once(prod: Cli) -> None:
    def status(token: str) -> int:
        headers = {"X-API-Token": token}
        return httpx.get(f"{rest_url(prod)}/tenants", headers=headers, trust_env=False).status_code

    old = prod.ok("prod", "token").out.strip()
    assert status(old) == 200
    assert prod("prod", "token", "--regenerate").code == 2  # nobody can be asked
    new = prod.ok("prod", "token", "--regenerate", "--yes").out.strip()
    assert (status(old), status(new)) == (401, 200)
    assert prod.ok("prod", "token").out.strip() == new
    mode = (prod.home / "prod" / "api_token").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_token_that_is_given_from_outside_is_changed_there(plain: Cli) -> None:
    (plain.home / "prod").mkdir(mode=0o700, parents=True)
    (plain.home / "prod" / "pillarbox.toml").touch()
    plain.variables["PILLARBOX_API_TOKEN"] = "given-from-outside"
    shown = plain("prod", "token", "--regenerate", "--yes")
    assert (shown.code, "PILLARBOX_API_TOKEN" in shown.err) == (78, True)


def test_settings_are_shown_with_their_origin_and_without_secrets(prod: Cli) -> None:
    shown = prod.ok("prod", "config", "show", "--json")
    settings = {each["key"]: each for each in shown.json}
    assert settings["smtp.idle_timeout_s"] == {
        "key": "smtp.idle_timeout_s", "value": "300", "origin": "default",
    }  # fmt: skip
    assert settings["http.listen"]["origin"] == "command line"
    assert settings["http.api_token"]["value"] == "(hidden)"
    assert prod.ok("prod", "token").out.strip() not in shown.out
    assert "encryption_key" in prod.ok("prod", "config", "show", "--changed").out
    assert prod.ok("prod", "config", "show", "workers", "--json").json[0]["value"] == "1"


def test_a_setting_is_changed_once_it_is_known_to_be_valid(prod: Cli) -> None:
    file = prod.home / "prod" / "pillarbox.toml"
    file.write_text(f"# kept\n{file.read_text()}")
    assert "restart" in prod.ok("prod", "config", "set", "retry.waits_s", "[60, 120]").err
    assert "waits_s = [60, 120]" in file.read_text()
    assert file.read_text().startswith("# kept\n")
    before = file.read_text()
    bad = prod("prod", "config", "set", "retry.jitter", "much")
    assert (bad.code, "retry.jitter: should be a valid number" in bad.err) == (78, True)
    assert "pillarbox.toml.new" not in bad.err
    assert file.read_text() == before
    assert list(file.parent.glob("*.new")) == []
    file.write_text("no toml at all")
    assert prod("prod", "config", "set", "retry.jitter", "0.1").code == 78
    assert prod("restart", "prod").code == 78
    file.write_text(before)
    assert prod.ok("list", "--json").json[0]["state"] == "running"
    unknown = prod("prod", "config", "set", "retry.wait_s", "1")
    assert (unknown.code, "did you mean 'retry.waits_s'" in unknown.err) == (2, True)
    secret = prod("prod", "config", "set", "http.metrics_token", "hush")
    assert (secret.code, "--value-stdin" in secret.err) == (2, True)
    prod.ok("prod", "config", "set", "http.metrics_token", "--value-stdin", stdin="hush-hush\n")
    assert "hush" in file.read_text()
    prod.ok("prod", "config", "set", "http.metrics_token", "--unset")
    assert "hush" not in file.read_text()


def test_the_database_is_copied_while_mail_comes_in(prod: Cli, tmp_path: Path) -> None:
    url, token = rest_url(prod), prod.ok("prod", "token").out.strip()
    has_begun, is_over = threading.Event(), threading.Event()
    accepted = []

    def give() -> None:
        with httpx.Client(base_url=url, headers={"X-API-Token": token}, trust_env=False) as client:
            while not is_over.is_set():
                query = {"tenant_id": "acme", "from": "a@b.example", "to": "c@d.example"}
                mail = b"Subject: x\r\n\r\n" + b"x" * 50_000
                headers = {"Content-Type": "message/rfc822"}
                answer = client.post("/messages/raw", params=query, content=mail, headers=headers)
                accepted.append(answer.status_code)
                has_begun.set()

    giver = threading.Thread(target=give)
    giver.start()
    assert has_begun.wait(20)
    copy = tmp_path / "copy.db"
    prod.ok("prod", "backup", str(copy))
    is_over.set()
    giver.join()
    assert set(accepted) == {200}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT id FROM tenants").fetchall() == [("acme",)]
    database.close()
    refused = prod("prod", "backup", str(copy))
    assert (refused.code, "not overwritten" in refused.err) == (1, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db"]
    assert list((prod.home / "prod").glob("backup-*")) == []


def test_postgresql_is_backed_up_by_its_own_tools(
    instance: Cli, engine: str, tmp_path: Path
) -> None:
    shown = instance("prod", "backup", str(tmp_path / "copy.db"))
    assert shown.code == (1 if engine else 0)
    assert ("pg_dump" in shown.err) == bool(engine)


def test_a_drained_instance_takes_no_mail_until_it_is_told_to(prod: Cli) -> None:
    assert "nothing remains" in prod.ok("prod", "drain").err
    listed = prod.ok("list", "--json").json[0]
    assert listed["state"] == "draining"
    headers = {"X-API-Token": prod.ok("prod", "token").out.strip()}
    mail = {
        "id": "1",
        "tenant_id": "acme",
        "from": "a@b.example",
        "to": "c@d.example",
        "subject": "s",
    }
    answer = httpx.post(
        f"{listed['http']}/commands/add-messages", json={"messages": [mail]}, headers=headers,
        trust_env=False,
    )  # fmt: skip
    assert (answer.status_code, answer.json()["detail"]) == (503, "this node takes no mail now")
    login = prod.ok("prod", "acme", "credentials", "add", "till").out.strip()
    host, port = listed["smtp"].rsplit(":", 1)
    with smtplib.SMTP(host, int(port), timeout=10) as smtp:
        smtp.login("till", login)
        code, _ = smtp.mail("a@b.example")
        assert code == 421
        smtp.close()
    prod.ok("prod", "drain", "--off")
    assert prod.ok("list", "--json").json[0]["state"] == "running"


def test_the_key_is_changed_while_the_secrets_are_in_use(instance: Cli, engine: str) -> None:
    instance.ok(
        "prod", "acme", "accounts", "add", "up", "--host", "up.example", "--user", "u",
        "--password-stdin", stdin="hush\n",
    )  # fmt: skip
    if engine:
        shown = instance("prod", "rekey", "--yes")
        assert (shown.code, "PILLARBOX_ENCRYPTION_KEY" in shown.err) == (78, True)
    else:
        key_file = instance.home / "prod" / "encryption_key"
        before = key_file.read_text()
        assert "sealed with the new key: 1" in instance.ok("prod", "rekey", "--yes").err
        assert key_file.read_text() != before
        assert "," not in key_file.read_text()
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        # One that was broken off is gone on with: no third key is made.
        key_file.write_text(f"{key_file.read_text().strip()},{before}")
        assert "sealed with the new key: 0" in instance.ok("prod", "rekey", "--yes").err
    assert instance.ok("prod", "acme", "accounts", "show", "up", "--json").json["user"] == "u"
    instance.ok("prod", "acme", "accounts", "delete", "up", "--yes")


def test_check_says_what_is_well_and_what_is_to_be_done(instance: Cli, is_running: bool) -> None:
    instance.ok("prod", "tenants", "update", "acme", "--callback-url", "http://127.0.0.1:1/")
    instance.ok("prod", "tenants", "add", "bare")
    shown = instance("prod", "check", "--json")
    assert shown.code == 1
    found = {each["what"]: each for each in shown.json}
    for what in ("settings", "files", "disk", "database", "clocks"):
        assert found[what]["verdict"] in ("ok", "note"), found[what]
    assert found["process"]["verdict"] == ("ok" if is_running else "note")
    assert found["callback acme"]["verdict"] == "to do"
    assert found["bare"]["verdict"] == "note"
    assert "cannot be reached" in instance("prod", "check").out
    instance.ok("prod", "tenants", "delete", "bare", "--yes")


def test_check_names_each_mistake_in_the_settings(plain: Cli) -> None:
    (plain.home / "prod").mkdir(mode=0o700, parents=True)
    (plain.home / "prod" / "pillarbox.toml").write_text("workerz = 2\n[retry]\njitter = 7\n")
    shown = plain("prod", "check")
    assert shown.code == 1
    assert "workerz: unknown key" in shown.out
    assert "retry.jitter" in shown.out
    assert plain("prod", "info").code == 78


@pytest.mark.parametrize(("days", "verdict"), [(-1, "to do"), (5, "to do"), (100, "ok")])
def test_a_certificate_that_ends_soon_is_to_be_renewed(
    tmp_path: Path, days: int, verdict: str
) -> None:
    ends_at = datetime.now(UTC) + timedelta(days=days)
    issued = trustme.CA().issue_cert("relay.test", not_after=ends_at)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    assert certificate(cert, key, time.time()).verdict == verdict


def test_a_certificate_without_its_key_is_to_be_replaced(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    trustme.CA().issue_cert("relay.test").cert_chain_pems[0].write_to_path(cert)
    trustme.CA().issue_cert("relay.test").private_key_pem.write_to_path(key)
    assert certificate(cert, key, time.time()).verdict == "to do"


def test_a_message_shows_what_became_of_its_files(prod: Cli) -> None:
    message = {
        "id": "with-file",
        "tenant_id": "acme",
        "from": "a@b.example",
        "to": "c@d.example",
        "subject": "x",
        "body": "x",
        "attachments": [{"filename": "plan.txt", "storage_path": "base64:aGVsbG8="}],
    }
    headers = {"X-API-Token": prod.ok("prod", "token").out.strip()}
    with httpx.Client(base_url=rest_url(prod), headers=headers, trust_env=False) as client:
        added = client.post("/commands/add-messages", json={"messages": [message]})
    assert added.json()["queued"] == 1, added.text
    shown = prod.ok("prod", "acme", "messages", "show", "with-file").out
    (line,) = (line for line in shown.splitlines() if "plan.txt" in line)
    assert line.split()[:4] == ["plan.txt", "5", "base64", "inserted"]
