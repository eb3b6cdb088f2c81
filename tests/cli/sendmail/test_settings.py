"""Where pillarbox-sendmail finds out where the relay is."""

import os
from pathlib import Path

import pytest

from cli.sendmail import settings
from cli.sendmail.ending import Ended

SAMPLE = Path(__file__).parents[3] / "conf" / "sendmail.toml"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "pillarbox").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(home: dict[str, str], text: str) -> None:
    (Path(home["XDG_CONFIG_HOME"]) / "pillarbox" / "sendmail.toml").write_text(text)


def test_the_environment_goes_before_the_file(home: dict[str, str]) -> None:
    write(home, 'server = "a:25"\nuser = "u"\ntimeout_s = 5\n[aliases]\nroot = "ops@acme.test"\n')
    found = settings.load({**home, "PILLARBOX_SENDMAIL_SERVER": "b:25"})
    assert (found.server, found.user, found.timeout_s) == ("b:25", "u", 5)
    assert found.qualified("root") == "ops@acme.test"


def test_aliases_can_be_given_in_the_environment() -> None:
    found = settings.load({"PILLARBOX_SENDMAIL_ALIASES": "root=a@b.test,www=c@d.test"})
    assert found.qualified("www") == "c@d.test"


def test_local_names_get_the_domain_that_is_set() -> None:
    found = settings.load({"PILLARBOX_SENDMAIL_DOMAIN": "acme.test"})
    assert found.qualified("root") == "root@acme.test"
    assert found.qualified("a@b.test") == "a@b.test"


def test_a_password_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    found = settings.load({"PILLARBOX_SENDMAIL_PASSWORD_FILE": str(tmp_path / "secret")})
    assert found.secret() == "hush"
    missing = settings.load({"PILLARBOX_SENDMAIL_PASSWORD_FILE": str(tmp_path / "none")})
    with pytest.raises(Ended, match="password_file"):
        missing.secret()


def test_the_sample_has_every_setting_with_its_default() -> None:
    sample = dict(settings.from_file(SAMPLE))
    assert sample.keys() == settings.NAMES
    assert settings.settings_of(sample) == settings.settings_of({})


def test_an_empty_text_is_the_same_as_none(home: dict[str, str]) -> None:
    write(home, 'tls = ""\ninstance = ""\ntimeout_s = ""\n')
    assert settings.load(home) == settings.load({})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("servr = 'a'", "servr"),
        ("server = 1", "server"),
        ("server = ", "Invalid value"),
        ("tls = 'maybe'", "tls"),
        ("timeout_s = 0", "timeout_s"),
        ("timeout_s = 'long'", "timeout_s"),
        ("aliases = 1", "aliases"),
        ("[aliases]\nroot = 1", "aliases"),
    ],
)
def test_what_is_wrong_is_named(home: dict[str, str], text: str, named: str) -> None:
    write(home, text)
    with pytest.raises(Ended, match=named) as raised:
        settings.load(home)
    assert raised.value.code == os.EX_CONFIG
