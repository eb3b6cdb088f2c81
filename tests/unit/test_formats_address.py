"""Addresses: every verdict of the fault table, and that nothing accepted can break out of `<…>`."""

from contextlib import suppress
from email.utils import parseaddr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import Refused
from relay.formats.address import (
    Mailbox,
    domain_of,
    mailbox,
    mailbox_list,
    needs_smtputf8,
    sender_allowed,
    split_path,
)

LIST_PIECE = st.sampled_from(["a@b.c", "<d@e.f>", "Name", ",", ", ", " ", "<", ">", ";", ":", "@"])


def verdict(argument: str, *, smtputf8: bool = False) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        mailbox(split_path(argument)[0], smtputf8=smtputf8)
    return refused.value.code, refused.value.enhanced


@pytest.mark.parametrize(
    ("argument", "path", "rest"),
    [
        ("<a@b.c>", "a@b.c", ""),
        ("<a@b.c> SIZE=100", "a@b.c", "SIZE=100"),
        ("<a@b.c>  SIZE=100 BODY=8BITMIME ", "a@b.c", "SIZE=100 BODY=8BITMIME"),
        (" <a@b.c>", "a@b.c", ""),
        ("<>", "", ""),
        ('<"d x"@e.f> RET=HDRS', '"d x"@e.f', "RET=HDRS"),
        ('<"a>b"@e.f>', '"a>b"@e.f', ""),
    ],
)
def test_a_path_and_its_parameters_are_split(argument: str, path: str, rest: str) -> None:
    assert split_path(argument) == (path, rest)


@pytest.mark.parametrize(
    "argument",
    [
        "<d\x00@e.f>",
        "<d\rX@e.f>",
        "<d@e.f\rX>",
        "<d@e.f>\rX",
        "<d@e.f>\r\nRCPT TO:<z@z>",
        "<d x@e.f>",
        "<d(comment)@e.f>",
        "d@e.f",
        "<d@e.f",
        "d@e.f>",
        "<<d@e.f>>",
        "<d@e.f>SIZE=1",
        "<\udcff\udcfe@e.f>",
        '<""">',
        '<"""@e.f>',
        '<""@e.f>',
        f"<{'a' * 400}@e.f>",
        f"<{'a' * 65}@e.f>",
        "<.d@e.f>",
        "<d.@e.f>",
        "<d..d@e.f>",
        "<d@e.f\t>",
        "<d@e.f\x0b>",
        "<d\x0b@e.f>",
        "<@relay:d@e.f>",
        "<@e.f>",
        "<postmaster>",
        "<d@e@f>",
        "<d@>",
        "<d@.e>",
        "<d@e.>",
        "<d@e..f>",
        "<d@-e.f>",
        "<d@e-.f>",
        "<d@e_f.g>",
        "<d@127.0.0.1>",
        f"<d@{'a' * 64}.f>",
        f"<d@{'a.' * 128}f>",
        f"<{'a' * 100_000}@e.f>",
        "",
    ],
)
def test_what_breaks_the_grammar_is_a_syntax_error(argument: str) -> None:
    code, enhanced = verdict(argument, smtputf8=True)
    assert code in (501, 553)
    assert enhanced in ("5.1.3", "5.5.4")


@pytest.mark.parametrize(
    "argument",
    [
        "<a%b@c>",
        "<a!b@c>",
        '<"a@b"@c>',
        '<"a%b"@c>',
        '<"a\\@b"@c>',
        "<d@[127.0.0.1]>",
        "<d@[IPv6:::1]>",
    ],
)
def test_what_asks_for_routing_is_denied(argument: str) -> None:
    assert verdict(argument) == (550, "5.7.1")


@pytest.mark.parametrize("argument", ["<é@e.f>", "<😀@e.f>", "<a@bücher.de>"])
def test_an_address_outside_ascii_needs_the_smtputf8_parameter(argument: str) -> None:
    assert verdict(argument) == (550, "5.6.7")


@pytest.mark.parametrize(
    "argument",
    ["<a@\uff41.com>", "<a@localhost。>", "<a@b\u202ec.de>", "<a\u202eb@c.de>", "<a\xa0b@c>"],
)
def test_what_only_looks_like_an_address_is_refused(argument: str) -> None:
    assert verdict(argument, smtputf8=True) == (553, "5.1.3")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("a@b.c", "a@b.c"),
        ("Alice.Smith+x@Acme.Example", "Alice.Smith+x@acme.example"),
        ("root@localhost", "root@localhost"),
        ("a@1.2.3.4a", "a@1.2.3.4a"),
        ('"d x"@E.f', '"d x"@e.f'),
        ('"abc"@e.f', "abc@e.f"),
        ('"a\\bc"@e.f', "abc@e.f"),
        ('"a\\"b\\\\"@e.f', '"a\\"b\\\\"@e.f'),
        ('"a..b"@e.f', '"a..b"@e.f'),
        (f"{'a' * 64}@e.f", f"{'a' * 64}@e.f"),
        ("😀@e.f", "😀@e.f"),
        ("a@bücher.de", "a@xn--bcher-kva.de"),
        ("a@BÜCHER.de", "a@xn--bcher-kva.de"),
        ("é@bücher.de", "é@xn--bcher-kva.de"),
    ],
)
def test_an_address_has_one_canonical_form(path: str, canonical: str) -> None:
    assert mailbox(path, smtputf8=True) == canonical
    assert mailbox(canonical, smtputf8=True) == canonical


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r'("[^\r]{0,9}"|[a-z.!"\\@ ]{1,9})@[a-z.\-]{1,9}'))
def test_whatever_is_accepted_stands_alone_between_angle_brackets(path: str) -> None:
    try:
        address = mailbox(path, smtputf8=True)
    except Refused:
        return
    assert split_path(f"<{address}>") == (address, "")
    assert mailbox(address, smtputf8=True) == address
    assert parseaddr(f"<{address}>")[1] == address
    assert "\n" not in address
    assert "\r" not in address


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_no_argument_raises_anything_but_refused(argument: str) -> None:
    for text in (argument, f"<{argument}>"):
        with suppress(Refused):
            mailbox(split_path(text)[0], smtputf8=True)


def test_the_domain_is_what_follows_the_last_at() -> None:
    assert domain_of('"a b"@Acme.Example') == "acme.example"
    assert domain_of("") == ""


def test_only_a_local_part_outside_ascii_needs_smtputf8() -> None:
    assert needs_smtputf8("é@e.f")
    assert not needs_smtputf8(mailbox("a@bücher.de", smtputf8=True))


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("a@b.c", [("", "a@b.c")]),
        ("<a@b.c>", [("", "a@b.c")]),
        ("a@b.c, d@e.f", [("", "a@b.c"), ("", "d@e.f")]),
        ("Name <a@b.c>,d@e.f", [("Name", "a@b.c"), ("", "d@e.f")]),
        ('"Doe, Jane" <a@b.c>, d@e.f', [("Doe, Jane", "a@b.c"), ("", "d@e.f")]),
        ('"Say \\"hi\\"" <a@b.c>', [('Say "hi"', "a@b.c")]),
        ("J. R.\tDoe <A@B.C>", [("J. R. Doe", "A@b.c")]),
        ("Zoë Ω <a@b.c>", [("Zoë Ω", "a@b.c")]),
        ("root@b.c (Cron (the) Daemon)", [("Cron (the) Daemon", "root@b.c")]),
        ("a@b.c <a@b.c>", [("a@b.c", "a@b.c")]),
        ('"x y"@b.c', [("", '"x y"@b.c')]),
        ("=?utf-8?q?Doe=2C_J?= <a@b.c>", [("=?utf-8?q?Doe=2C_J?=", "a@b.c")]),
    ],
)
def test_a_list_of_mailboxes_is_read(text: str, boxes: list[tuple[str, str]]) -> None:
    assert mailbox_list(text) == tuple(Mailbox(*box) for box in boxes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "a@b.c,",
        "a@b.c,,d@e.f",
        "a@b.c d@e.f",
        "a@b.c; d@e.f",
        "a@b.c <d@e.f>",
        "<a@b.c> <d@e.f>",
        "<a@b.c> d@e.f",
        "Doe, Jane <a@b.c>",
        "Friends: a@b.c, d@e.f;",
        "undisclosed-recipients:;",
        "x <a@b.c",
        "x a@b.c>",
        '"x <a@b.c>',
        "a@b.c (x",
        "a@b.c)",
        "a\r\n@b.c",
        "x\r\nBcc: v@x <a@b.c>",
        "x\x85y <a@b.c>",
        "x\u2028y <a@b.c>",
        "x\ud800y <a@b.c>",
        "x\x00 <a@b.c>",
        "a%b@c",
        "(" * 30_000,
        "<" * 30_000,
        '"' * 30_001,
        "a@b.c," * 20_000,
    ],
)
def test_a_list_that_is_not_understood_entirely_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        mailbox_list(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(LIST_PIECE, max_size=12))
def test_no_address_of_a_list_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        boxes = mailbox_list(text)
    except Refused:
        return
    assert "".join(box.name + box.address for box in boxes).count("@") == text.count("@")
    assert all(mailbox(box.address, smtputf8=True) == box.address for box in boxes)


@pytest.mark.parametrize(
    ("address", "pattern", "allowed"),
    [
        ("a@acme.example", "*", True),
        ("", "*", True),
        ("", "*@acme.example", False),
        ("a@acme.example", "*@acme.example", True),
        ("a@acme.example", "*@ACME.example", True),
        ("a@mail.acme.example", "*@acme.example", False),
        ("a@evilacme.example", "*@acme.example", False),
        ("a@acme.example.evil", "*@acme.example", False),
        ("a@mail.acme.example", "*@*.acme.example", True),
        ("a@x.mail.acme.example", "*@*.acme.example", True),
        ("a@acme.example", "*@*.acme.example", False),
        ("a@evil-acme.example", "*@*.acme.example", False),
        ("a@acme.example", "A@acme.example", True),
        ("b@acme.example", "a@acme.example", False),
        ("a@acme.example", "acme.example", False),
        ('"x@acme.example"@evil.example', "*@acme.example", False),
        ("a@xn--bcher-kva.de", "*@bücher.de", True),
    ],
)
def test_a_sender_is_allowed_by_its_pattern(address: str, pattern: str, allowed: bool) -> None:
    assert sender_allowed(address, ("nobody@nowhere.example", pattern)) is allowed
