"""Signed return addresses."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.crypto import Keyring
from relay.errors import Refused
from relay.formats import verp
from relay.formats.verp import Forged, Reference, ReturnPath, read, return_path, signed

PATH = ReturnPath("bounce", "bounces.acme.test")
KEY, OTHER = b"k" * 32, b"o" * 32
PK = "0199f0c4-1c2d-7abc-8def-0123456789ab"

references = st.builds(
    Reference,
    st.uuids().map(str),
    st.none() | st.integers(min_value=0, max_value=2**16 - 3),
)
keys = st.binary(min_size=32, max_size=32)


@given(references, keys)
def test_what_was_signed_is_read_back(reference: Reference, key: bytes) -> None:
    address = signed(PATH, reference, key)
    assert read([address], [key]) == reference
    assert read([f"Mail <{address.upper()}>"], [OTHER, key]) == reference


@given(references, st.integers(min_value=0), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_token_that_was_changed_anywhere_is_forged_or_means_the_same(
    reference: Reference, at: int, letter: str
) -> None:
    head, _, rest = signed(PATH, reference, KEY).partition("+")
    token, _, domain = rest.partition("@")
    place = at % len(token)
    changed = f"{token[:place]}{letter}{token[place + 1 :]}"
    found = read([f"{head}+{changed}@{domain}"], [KEY])
    # The last letter has two bits more than the token.
    assert found in ((reference,) if changed == token else (Forged(), reference))
    if found == reference and changed != token:
        assert place == len(token) - 1


@given(st.text(), st.lists(keys, max_size=2))
def test_no_text_is_taken_for_a_token_of_ours(text: str, known: list[bytes]) -> None:
    assert not isinstance(read([text], known), Reference)


def test_a_token_of_another_key_is_forged() -> None:
    assert read([signed(PATH, Reference(PK), OTHER)], [KEY]) == Forged()


def test_an_address_without_a_token_says_nothing() -> None:
    assert read(["bounce@bounces.acme.test", "bounce+tag@bounces.acme.test", ""], [KEY]) is None


def test_a_true_token_counts_beside_a_forged_one() -> None:
    forged, true = signed(PATH, Reference(PK), OTHER), signed(PATH, Reference(PK, 3), KEY)
    assert read([forged, true], [KEY]) == Reference(PK, 3)


def test_a_local_part_is_never_longer_than_64_octets() -> None:
    longest = return_path(f"{'l' * verp.LOCAL_MAX_CHARS}@acme.test")
    local, _, _ = signed(longest, Reference(PK, 1000), KEY).rpartition("@")
    assert len(local) == 64


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("bounces.acme.test", ReturnPath("bounce", "bounces.acme.test")),
        ("Returns@ACME.test", ReturnPath("Returns", "acme.test")),
        ("a+b@acme.test", ReturnPath("a+b", "acme.test")),
    ],
)
def test_a_return_path_is_a_domain_or_an_address(text: str, path: ReturnPath) -> None:
    assert return_path(text) == path


@pytest.mark.parametrize(
    "text",
    ["", "not a domain", "a@b@c.test", "@", "a@", '"odd part"@acme.test', f"{'l' * 22}@acme.test"],
)
def test_what_no_address_can_be_made_of_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        return_path(text)


def test_a_hostile_number_of_tokens_is_not_all_looked_at() -> None:
    forged = " ".join(signed(PATH, Reference(str(uuid.uuid4())), OTHER) for _ in range(200))
    assert read([forged, signed(PATH, Reference(PK), KEY)], [KEY]) == Forged()


def test_each_key_of_an_instance_gives_one_for_a_purpose() -> None:
    old, new = Keyring([b"1" * 32]), Keyring([b"2" * 32, b"1" * 32])
    assert len(set(new.derived("verp"))) == 2
    assert new.derived("verp")[1:] == old.derived("verp")
    assert old.derived("verp") != old.derived("cursors")
    address = signed(PATH, Reference(PK), old.derived("verp")[0])
    assert read([address], new.derived("verp")) == Reference(PK)
