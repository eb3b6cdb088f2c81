"""What is a URL that may be called, and whose it is."""

import pytest

from relay.net.url import UnusableUrlError, authority, beneath, origin, parse


@pytest.mark.parametrize(
    ("text", "host", "target"),
    [
        ("http://c.test", b"c.test", b"/"),
        ("HTTPS://C.test:8443/a?b=c d#e", b"c.test:8443", b"/a?b=c%20d"),
        ("http://bücher.test/ü", b"xn--bcher-kva.test", b"/%C3%BC"),
        ("http://[::1]:81/", b"[::1]:81", b"/"),
        ("http://c.test/%2e%2e/a", b"c.test", b"/%2e%2e/a"),
        ("http://c.test/a\r\nHost: d.test", b"c.test", b"/aHost:%20d.test"),
    ],
)
def test_a_url_is_made_ready_for_the_wire(text: str, host: bytes, target: bytes) -> None:
    url = parse(text)
    assert (authority(url), url.target) == (host, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c.test/a",
        "//c.test/a",
        "file:///etc/passwd",
        "gopher://c.test/",
        "unix:/run/x",
        "http://",
        "http:///a",
        "http://c.test:99999/",
        "http://user@c.test/",
        "http://user:pw@c.test/",
        "http://@c.test/",
        "http://[fe80::1%25eth0]/",
        "http://c test/",
        "http://c.test\\@d.test/",
        "http://c\u2100.test/",
    ],
)
def test_what_cannot_be_called_safely_is_no_url(text: str) -> None:
    with pytest.raises(UnusableUrlError):
        parse(text)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("http://c.test/a", "http://c.test:80/b", True),
        ("https://c.test", "https://C.TEST:443/", True),
        ("http://c.test", "https://c.test", False),
        ("http://c.test", "http://c.test:8080", False),
        ("http://c.test", "http://sub.c.test", False),
        ("http://c.test", "http://c.test.evil.test", False),
    ],
)
def test_two_urls_are_of_one_server_or_not(one: str, other: str, is_same: bool) -> None:
    assert (origin(parse(one)) == origin(parse(other))) is is_same


@pytest.mark.parametrize("path", ["/a", "a", "//evil.test/a", "http://evil.test/a", "/../../a"])
def test_a_path_never_leaves_its_server(path: str) -> None:
    assert origin(beneath("http://c.test/base", path)) == origin(parse("http://c.test"))
