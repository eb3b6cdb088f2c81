"""The first start: the secrets that nobody gave are made once and kept."""

import base64
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from relay.config import Config, ensure_secrets
from relay.errors import ConfigError

KEY = base64.b64encode(bytes(range(32))).decode()
PG = "postgresql://relay@db/mail"


def load(home: Path, **environ: str) -> Config:
    return Config.load(home=home / "home", name="one", environ=environ, run_secrets=home / "none")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def text(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


def test_the_first_start_makes_both_secrets_and_the_second_reads_them(tmp_path: Path) -> None:
    first = ensure_secrets(load(tmp_path))
    second = ensure_secrets(load(tmp_path))
    folder = tmp_path / "home" / "one"
    assert len(text(first.http.api_token)) == 43
    assert len(base64.b64decode(text(first.encryption_key))) == 32
    assert first.http == second.http
    assert first.encryption_key == second.encryption_key
    assert first.origins["http.api_token"] == str(folder / "api_token")
    assert first.origins["encryption_key"] == str(folder / "encryption_key")
    assert mode(tmp_path / "home") == mode(folder) == 0o700
    assert mode(folder / "api_token") == mode(folder / "encryption_key") == 0o600


def test_two_instances_share_no_secret(tmp_path: Path) -> None:
    one = ensure_secrets(load(tmp_path / "a"))
    two = ensure_secrets(load(tmp_path / "b"))
    assert one.http.api_token != two.http.api_token
    assert one.encryption_key != two.encryption_key


def test_what_is_given_is_not_written_down(tmp_path: Path) -> None:
    config = load(tmp_path, PILLARBOX_API_TOKEN="t" * 20, PILLARBOX_ENCRYPTION_KEY=KEY)
    assert ensure_secrets(config) == config
    assert list((tmp_path / "home" / "one").iterdir()) == []


def test_postgresql_gets_a_token_but_never_a_key(tmp_path: Path) -> None:
    config = load(tmp_path, PILLARBOX_DB=PG, PILLARBOX_ENCRYPTION_KEY=KEY)
    assert len(text(ensure_secrets(config).http.api_token)) == 43
    without = config.model_copy(update={"encryption_key": None})
    with pytest.raises(ConfigError, match="required with PostgreSQL"):
        ensure_secrets(without)
    assert not (tmp_path / "home" / "one" / "encryption_key").exists()


@pytest.mark.parametrize("name", ["api_token", "encryption_key"])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    ensure_secrets(load(tmp_path))
    path = tmp_path / "home" / "one" / name
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"can be read by others \(mode 0640\): chmod 600 "):
        ensure_secrets(load(tmp_path))


@pytest.mark.parametrize("content", ["", "\n", "short", "\xff" * 40])
def test_a_damaged_secret_is_refused_and_not_replaced(tmp_path: Path, content: str) -> None:
    ensure_secrets(load(tmp_path))
    path = tmp_path / "home" / "one" / "encryption_key"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^encryption_key: .*\(.*/encryption_key\)$"):
        ensure_secrets(load(tmp_path))
    assert path.read_bytes() == content.encode("latin-1")


def test_a_lost_key_is_not_replaced_where_a_database_was_made_with_it(tmp_path: Path) -> None:
    config = ensure_secrets(load(tmp_path))
    (config.instance_dir / "pillarbox.db").touch()
    (config.instance_dir / "encryption_key").unlink()
    with pytest.raises(ConfigError, match="was made with one: restore the file"):
        ensure_secrets(load(tmp_path))


def test_a_home_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ConfigError, match="the folder cannot be made"):
        ensure_secrets(load(tmp_path))
