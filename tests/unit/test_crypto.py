"""Secrets open where they were sealed, with the key they were sealed with, or not at all."""

import base64
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from relay.crypto import (
    DECOY_HASH,
    Keyring,
    digest,
    hash_password,
    new_secret,
    same,
    verify_password,
)
from relay.errors import ConfigError, SecretDamaged

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
WHERE = "accounts/acme/main/password"
RING = Keyring([NEW])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_in_its_place(plaintext: str) -> None:
    sealed = RING.seal(plaintext, where=WHERE)
    assert sealed.startswith("pbx1:")
    assert RING.open(sealed, where=WHERE) == plaintext


def test_a_sealed_value_has_the_documented_form() -> None:
    tag, key_id, encoded = RING.seal("hunter2", where=WHERE).split(":")
    assert tag == "pbx1"
    assert len(bytes.fromhex(key_id)) == 4
    blob = base64.b64decode(encoded, validate=True)
    assert AESGCM(NEW).decrypt(blob[:12], blob[12:], WHERE.encode()) == b"hunter2"


def test_sealing_twice_gives_two_values() -> None:
    assert RING.seal("hunter2", where=WHERE) != RING.seal("hunter2", where=WHERE)


def test_a_value_copied_to_another_row_does_not_open() -> None:
    sealed = RING.seal("hunter2", where="accounts/acme/main/password")
    with pytest.raises(SecretDamaged, match=r"accounts/evil/main/password: .*of another place"):
        RING.open(sealed, where="accounts/evil/main/password")


def test_another_key_does_not_open_it_and_the_error_says_so() -> None:
    sealed = Keyring([OLD]).seal("hunter2", where=WHERE)
    with pytest.raises(SecretDamaged, match=f"{WHERE}: sealed with another key"):
        RING.open(sealed, where=WHERE)


def test_after_rotation_the_old_opens_and_the_new_seals() -> None:
    both = Keyring([NEW, OLD])
    assert both.open(Keyring([OLD]).seal("hunter2", where=WHERE), where=WHERE) == "hunter2"
    assert RING.open(both.seal("hunter2", where=WHERE), where=WHERE) == "hunter2"


@pytest.mark.parametrize("value", ["", "hunter2", "ENC:AAAA", "pbx1:", "pbx1:x", "pbx2:a:b"])
def test_plaintext_is_never_taken_for_a_sealed_value(value: str) -> None:
    with pytest.raises(SecretDamaged) as caught:
        RING.open(value, where=WHERE)
    assert str(caught.value).startswith(f"{WHERE}: ")
    assert "hunter2" not in str(caught.value)


@given(st.data())
def test_no_damage_goes_unseen(data: st.DataObject) -> None:
    head, _, encoded = RING.seal("hunter2", where=WHERE).rpartition(":")
    blob = bytearray(base64.b64decode(encoded))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    cut = blob[: data.draw(st.integers(0, len(blob)))]
    with pytest.raises(SecretDamaged):
        RING.open(f"{head}:{base64.b64encode(cut).decode()}", where=WHERE)


@given(st.text(max_size=60))
def test_nonsense_raises_only_secret_damaged(text: str) -> None:
    key_id = RING.seal("x", where=WHERE).split(":")[1]
    for value in (text, f"pbx1:{text}", f"pbx1:{key_id}:{text}"):
        with pytest.raises(SecretDamaged):
            RING.open(value, where=WHERE)
    with pytest.raises(SecretDamaged):
        RING.open_legacy(f"ENC:{text}")


def legacy(text: str, key: bytes) -> str:
    nonce = os.urandom(12)
    sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), None)
    return "ENC:" + base64.b64encode(sealed).decode()


def test_a_legacy_value_opens_for_import_only() -> None:
    both = Keyring([NEW, OLD])
    assert both.open_legacy(legacy("hunter2", OLD)) == "hunter2"
    with pytest.raises(SecretDamaged):
        both.open(legacy("hunter2", OLD), where=WHERE)


@pytest.mark.parametrize("value", ["hunter2", "ENC:", "ENC:hunter2", legacy("hunter2", OLD)])
def test_a_legacy_value_that_does_not_open_is_no_password(value: str) -> None:
    with pytest.raises(SecretDamaged) as caught:
        RING.open_legacy(value)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_key_is_seen_by_the_check() -> None:
    check = Keyring([OLD]).key_check()
    assert Keyring([OLD]).matches(check)
    assert Keyring([NEW, OLD]).matches(check)
    assert not RING.matches(check)
    assert not RING.matches("")


def test_keys_are_read_from_base64() -> None:
    new, old = (base64.b64encode(key).decode() for key in (NEW, OLD))
    sealed = Keyring([NEW]).seal("x", where=WHERE)
    assert Keyring.from_text(f"{new}\n").open(sealed, where=WHERE) == "x"
    assert Keyring.from_text(f"{old}, {new}").open(sealed, where=WHERE) == "x"
    urlsafe = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    assert Keyring.from_text(urlsafe).matches(Keyring([b"\xff" * 32]).key_check())


@pytest.mark.parametrize("text", ["", " ", "hunter2", "A" * 43, base64.b64encode(b"x").decode()])
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError, match="32 bytes") as caught:
        Keyring.from_text(text)
    assert "hunter2" not in str(caught.value)


def test_a_keyring_does_not_show_its_keys() -> None:
    assert NEW.hex() not in repr(RING)
    assert repr(NEW) not in repr(RING)


def test_a_new_secret_has_256_bits_in_43_characters() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(base64.urlsafe_b64decode(secret + "=")) == 32 for secret in secrets)
    assert all(len(secret) == 43 for secret in secrets)


def test_a_digest_is_sha256() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.text(), st.text())
def test_same_is_equality_for_any_text(a: str, b: str) -> None:
    assert same(a, b) is (a == b)
    assert same(a, a)


def test_a_password_verifies_against_its_own_hash_only() -> None:
    stored = hash_password("pässword")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify_password("pässword", stored)
    assert not verify_password("password", stored)
    assert not verify_password("\udc80", stored)
    assert hash_password("pässword") != stored


def test_the_decoy_costs_what_a_hash_costs_and_opens_to_nobody() -> None:
    profile = hash_password("x").rsplit("$", 2)[0]
    assert DECOY_HASH.startswith(f"{profile}$")
    assert not verify_password("", DECOY_HASH)


@pytest.mark.parametrize("stored", ["", "hunter2", "$argon2id$v=19$m=1$x", DECOY_HASH[:-5]])
def test_a_damaged_hash_is_an_error_not_a_wrong_password(stored: str) -> None:
    with pytest.raises(SecretDamaged):
        verify_password("hunter2", stored)
