"""How a client is called: where, with what login, under what name."""

import pytest

from relay.model import Tenant
from relay.net.call import authorization
from relay.net.reach import Reach
from relay.net.url import authority
from relay.reports.answer import Answer
from relay.reports.post import (
    Caller,
    CallSettings,
    UnusableTarget,
    call_id,
    signature,
    target,
)
from tests.fakes.client import FakeClient, Reply

SETTINGS = CallSettings(Reach(loopback=True), timeout_s=1, max_answer_bytes=1000, max_connections=2)


def tenant(url: str, path: str | None = None) -> Tenant:
    return Tenant("acme", "Acme", client_base_url=url, client_sync_path=path)


@pytest.mark.parametrize(
    ("base", "path", "host", "on_the_wire"),
    [
        ("http://c.test", None, b"c.test", b"/mail-proxy/sync"),
        ("https://c.test:8443/", "/hook", b"c.test:8443", b"/hook"),
        ("http://c.test/base/", "hook", b"c.test", b"/base/hook"),
        ("http://c.test", "/hook?a=b&c=%20d", b"c.test", b"/hook?a=b&c=%20d"),
        ("http://c.test", "/h\u00f6\u00f6k x", b"c.test", b"/h%C3%B6%C3%B6k%20x"),
        ("http://b\u00fccher.test", None, b"xn--bcher-kva.test", b"/mail-proxy/sync"),
        ("http://[2001:db8::1]:81", None, b"[2001:db8::1]:81", b"/mail-proxy/sync"),
        ("http://[2001:db8::1]", None, b"[2001:db8::1]", b"/mail-proxy/sync"),
    ],
)
def test_the_url_is_made_ready_for_the_wire(
    base: str, path: str | None, host: bytes, on_the_wire: bytes
) -> None:
    url = target(tenant(base, path))
    assert authority(url) == host
    assert url.target == on_the_wire


@pytest.mark.parametrize(
    "base",
    [
        "",
        "ftp://c.test",
        "file:///etc/passwd",
        "http://",
        "http://c.test:port",
        "http://[::1",
        "c",
        "http://user:pw@c.test",
    ],
)
def test_what_is_no_url_is_not_called(base: str) -> None:
    with pytest.raises(UnusableTarget):
        target(tenant(base))


async def test_what_cannot_be_called_is_an_answer_with_a_fault() -> None:
    caller = Caller(SETTINGS)
    answer = await caller.post(tenant("ftp://c.test"), b"{}", "id", 0)
    assert (answer.status, bool(answer.fault)) == (0, True)
    refused = await caller.post(tenant("http://169.254.169.254"), b"{}", "id", 0)
    assert "not allowed" in refused.fault
    assert "169" not in refused.fault
    await caller.close()


async def test_an_answer_that_breaks_http_is_a_fault() -> None:
    async with FakeClient(lambda _call: Reply(headers={"Content-Length": "many"})) as client:
        caller = Caller(SETTINGS)
        answer = await caller.post(tenant(client.url), b"{}", "id", 0)
        assert answer.status == 0
        assert answer.fault
        await caller.close()


async def test_a_login_that_cannot_be_a_header_is_a_fault() -> None:
    async with FakeClient() as client:
        caller = Caller(SETTINGS)
        auth = {"method": "bearer", "token": "a\r\nX: y"}
        who = Tenant("acme", "Acme", client_base_url=client.url, client_auth=auth)
        assert (await caller.post(who, b"{}", "id", 0)).fault
        assert client.calls == []
        await caller.close()


async def test_a_huge_answer_is_read_no_further_than_the_cap() -> None:
    async with FakeClient(lambda _call: Reply(body=b"[" * 5_000_000)) as client:
        caller = Caller(SETTINGS)
        assert await caller.post(tenant(client.url), b"{}", "id", 0) == Answer(200)
        await caller.close()


def test_a_tenant_without_a_login_sends_none() -> None:
    assert authorization(Tenant("acme", "Acme").client_auth) == []


@pytest.mark.parametrize("secret", ["!", "whsec_", "whsec_A"])
def test_a_secret_that_is_no_key_cannot_sign(secret: str) -> None:
    with pytest.raises(UnusableTarget):
        signature(secret, b"{}", "id", 0)


def test_the_same_events_are_named_the_same_and_heartbeats_never() -> None:
    assert call_id("acme", ["a", "b"], 1) == call_id("acme", ["a", "b"], 2)
    assert call_id("acme", ["a", "b"], 1) != call_id("acme", ["a"], 1)
    assert call_id("acme", ["a"], 1) != call_id("other", ["a"], 1)
    assert call_id("acme", [], 1) != call_id("acme", [], 2)


def test_the_signature_is_that_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = dict(
        signature(secret, b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330)
    )
    expected = b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers[b"webhook-signature"] == expected
