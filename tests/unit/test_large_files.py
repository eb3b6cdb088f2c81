"""The rules of large files: storage URLs, what a tenant wants, links that we sign."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.attachments.offload.depot import place_of
from relay.attachments.offload.look import look
from relay.attachments.offload.place import Place, Scheme, read_place
from relay.attachments.offload.policy import (
    DAY_S,
    MB,
    Action,
    masked,
    policy_of,
    read_policy,
    unmasked,
)
from relay.attachments.offload.tickets import Tickets, file_id
from relay.attachments.offload.uploads import key_name
from relay.crypto import Keyring
from relay.formats.disposition import attachment_disposition
from relay.model import Tenant
from relay.store.files import StoredFile

KEY = quote('{"client_email":"x","private_key":"sesame"}')


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", Place(Scheme.S3, "bucket", "")),
        ("s3://bucket/a/b/", Place(Scheme.S3, "bucket", "a/b")),
        ("s3://k:s%2F%40@bucket", Place(Scheme.S3, "bucket", "", "k", "s/@")),
        ("az://acc@files", Place(Scheme.AZ, "files", "", "acc")),
        ("az://acc:k%3D@files/x", Place(Scheme.AZ, "files", "x", "acc", "k=")),
        ("gs://bucket/x", Place(Scheme.GS, "bucket", "x")),
        ("file:////var/lib/x", Place(Scheme.FILE, "", "/var/lib/x")),
        ("file:///var/lib/x%20y", Place(Scheme.FILE, "", "/var/lib/x y")),
        (
            "s3://bucket?endpoint=https://s3.test&region=r",
            Place(
                Scheme.S3, "bucket", "", options=(("endpoint", "https://s3.test"), ("region", "r"))
            ),
        ),
    ],
)
def test_a_storage_url_says_where_files_go(url: str, place: Place) -> None:
    assert read_place(url) == place


@pytest.mark.parametrize(
    ("url", "shown", "without"),
    [
        ("s3://key:sesame@bkt/x", "s3://key:***@bkt/x", "s3://bkt/x"),
        ("az://acc:sesame@bkt", "az://acc:***@bkt", "az://acc@bkt"),
        (f"gs://bkt?service_account_key={KEY}", "gs://bkt?service_account_key=***", "gs://bkt"),
        (
            "s3://k:sesame@bkt?session_token=sesame&region=r",
            "s3://k:***@bkt?session_token=***&region=r",
            "s3://bkt?region=r",
        ),
        ("file:///a/b", "file:///a/b", "file:///a/b"),
    ],
)
def test_what_is_secret_in_it_is_masked(url: str, shown: str, without: str) -> None:
    place = read_place(url)
    assert (place.masked, place.without_login.masked) == (shown, without)
    assert read_place(without) == place.without_login
    assert "sesame" not in repr(place)


@given(st.text(max_size=60))
def test_a_url_is_read_or_refused_and_never_anything_else(text: str) -> None:
    for start in ("", "s3://", "gs://", "az://", "file:///"):
        try:
            place = read_place(start + text)
        except ValueError:
            continue
        assert read_place(place.without_login.masked) == place.without_login


def test_a_policy_has_the_defaults_of_the_contract() -> None:
    policy = read_policy({"enabled": True})
    assert (policy.action, policy.max_bytes, policy.ttl_s) == (Action.WARN, 10 * MB, 30 * DAY_S)


@pytest.mark.parametrize("config", [None, {}, {"enabled": False, "action": "rewrite"}])
def test_nothing_is_large_unless_it_is_wanted(config: dict[str, object] | None) -> None:
    assert policy_of(Tenant("acme", "Acme", large_file_config=config)) is None


def test_a_config_that_cannot_work_keeps_large_files_waiting_and_no_others() -> None:
    config: dict[str, object] = {"enabled": True, "action": "rewrite", "storage_url": "ftp://x"}
    policy = policy_of(Tenant("acme", "Acme", large_file_config=config))
    assert policy
    assert (policy.action, policy.place, policy.max_bytes) == (Action.REWRITE, None, 10 * MB)


def test_what_was_shown_gets_its_login_back_only_for_the_same_place() -> None:
    stored: dict[str, object] = {"enabled": True, "storage_url": "s3://k:sesame@bkt/x"}
    shown = masked(stored)
    assert shown == {"enabled": True, "storage_url": "s3://k:***@bkt/x"}
    assert unmasked(shown, stored) == stored
    elsewhere: dict[str, object] = {"storage_url": "s3://k:***@other/x"}
    assert unmasked(elsewhere, stored) == elsewhere
    assert unmasked(shown, None) == shown


def test_a_file_is_asked_for_with_the_login_that_its_tenant_has_now() -> None:
    file = StoredFile("i", "acme", "p", "s3://bkt/x", "k", "n", "t/t", 1, "h", 0.0, 1.0)
    config: dict[str, object] = {"enabled": True, "storage_url": "s3://new:login@bkt/x"}
    tenant = Tenant("acme", "Acme", large_file_config=config)
    assert place_of(file, tenant).user == "new"
    moved = Tenant("acme", "Acme", large_file_config=config | {"storage_url": "s3://k:s@other"})
    assert place_of(file, moved) == place_of(file, None) == read_place("s3://bkt/x")


def test_a_ticket_is_ours_or_it_is_nothing() -> None:
    tickets = Tickets(Keyring([bytes(32)]))
    ticket = tickets.issue(file_id("pk", "name", "sum"))
    assert tickets.verify(ticket) == file_id("pk", "name", "sum")
    assert len(ticket) == 38
    assert "=" not in tickets.url("https://mail.acme.test", "x" * 16)
    for n in range(len(ticket) - 1):
        for other in "Ab-_9":
            if ticket[n] != other:
                assert tickets.verify(ticket[:n] + other + ticket[n + 1 :]) is None


@given(st.text(max_size=60))
def test_nothing_that_we_did_not_make_is_a_ticket(text: str) -> None:
    assert Tickets(Keyring([bytes(32)])).verify(text) is None


def test_signatures_of_two_purposes_differ() -> None:
    keyring = Keyring([bytes(32)])
    signature = keyring.sign(b"x", purpose="download")
    assert keyring.is_signed(b"x", signature, purpose="download")
    assert not keyring.is_signed(b"x", signature, purpose="other")
    assert not keyring.is_signed(b"x", b"", purpose="download")


@given(st.text(max_size=300))
def test_a_key_is_plain_ascii_and_short(name: str) -> None:
    key = key_name(name)
    assert 0 < len(key) <= 60
    assert key.isascii()
    assert not set(key) & set("/\\ %?#\r\n\0")


def test_the_same_file_of_a_mail_has_the_same_id_and_no_other() -> None:
    ids = {file_id(*names) for names in (("p", "n", "s"), ("q", "n", "s"), ("p", "m", "s"))}
    assert len(ids | {file_id("p", "n", "s")}) == 3


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=80))
def test_a_disposition_is_one_line_of_ascii(name: str) -> None:
    value = attachment_disposition(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.startswith("attachment; filename=")
    assert value.count('"') == 2


@pytest.mark.parametrize(
    ("fields", "is_large"),
    [
        ("Content-Type: application/pdf", True),
        ("Content-Type: image/png\r\nContent-Disposition: inline", True),
        ("Content-Type: text/plain\r\nContent-Disposition: attachment", True),
        ("Content-Type: text/csv", True),
        ("Content-Type: message/rfc822", True),
        ("Content-Type: text/plain", False),
        ("Content-Type: text/html; charset=utf-8", False),
        ("Content-Type: message/delivery-status", False),
        ("Content-Type: multipart/mixed", False),
        ("Content-Type: application/pdf\r\nContent-Transfer-Encoding: x-unknown", False),
        ("Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64", False),
    ],
)
def test_a_large_file_is_a_leaf_that_is_no_text_to_be_read(fields: str, is_large: bool) -> None:
    content = f"{fields}\r\n\r\n".encode() + b"a=" * 600
    assert bool(look(content, 1000).large) is is_large


def test_size_counts_what_is_decoded() -> None:
    head = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    content = head + b"QUJD" * 300
    assert look(content, 900).large == ()
    assert look(content, 899).large[0].file.size_bytes == 900
