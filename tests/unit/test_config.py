"""Settings: where values come from, which wins, and that every mistake is named at once."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from relay.config import SETTINGS, Config, Listen, Setting
from relay.errors import ConfigError

KEY = base64.b64encode(bytes(range(32))).decode()
PG = "postgresql://relay:hunter2@db/mail"


def load(
    home: Path,
    environ: Mapping[str, str] | None = None,
    toml: str | None = None,
    **overrides: object,
) -> Config:
    """Load the instance `one`; `smtp__listen=…` is the override of `smtp.listen`."""
    if toml is not None:
        (home / "one").mkdir(exist_ok=True)
        (home / "one" / "pillarbox.toml").write_text(toml)
    return Config.load(
        home=home,
        name="one",
        environ=environ or {},
        overrides={key.replace("__", "."): value for key, value in overrides.items()},
        run_secrets=home / "run-secrets",
    )


def mistakes(
    home: Path,
    environ: Mapping[str, str] | None = None,
    toml: str | None = None,
    **overrides: object,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(home, environ, toml, **overrides)
    return str(caught.value).split("\n")


def test_without_any_setting_the_defaults_of_the_contract_hold(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.name == "one"
    assert config.instance_dir == tmp_path / "one"
    assert config.database.url.get_secret_value() == f"sqlite:{tmp_path}/one/pillarbox.db"
    assert config.database.sqlite_path == tmp_path / "one" / "pillarbox.db"
    assert config.http.listen == Listen("127.0.0.1", 8000)
    assert config.smtp.listen == (Listen("127.0.0.1", 2525),)
    assert config.smtp.tls_listen == ()
    assert config.limits.max_message_bytes == 26214400
    assert config.http.max_body_bytes == 26214400 * 7 // 5 + 65536
    assert config.retry.waits_s == (60, 300, 900, 3600, 7200)
    assert config.upstream.helo_name == config.smtp.hostname
    assert set(config.origins.values()) == {"default"}
    assert not (tmp_path / "one").exists(), "loading must not write"


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    toml = "[smtp]\nmax_errors = 1\nmax_hops = 1\nmax_recipients = 1\n"
    environ = {"PILLARBOX_SMTP_MAX_HOPS": "2", "PILLARBOX_SMTP_MAX_RECIPIENTS": "2"}
    config = load(tmp_path, environ, toml, smtp__max_recipients=3, smtp__max_errors=None)
    assert (config.smtp.max_errors, config.smtp.max_hops, config.smtp.max_recipients) == (1, 2, 3)
    assert config.origins["smtp.max_errors"] == str(tmp_path / "one" / "pillarbox.toml")
    assert config.origins["smtp.max_hops"] == "PILLARBOX_SMTP_MAX_HOPS"
    assert config.origins["smtp.max_recipients"] == "command line"
    assert config.origins["smtp.listen"] == "default"


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("PILLARBOX_DB", PG, "database.url"),
        ("GMP_DB_PATH", PG, "database.url"),
        ("PILLARBOX_API_TOKEN", "t" * 20, "http.api_token"),
        ("GMP_API_TOKEN", "t" * 20, "http.api_token"),
        ("PILLARBOX_ENCRYPTION_KEY", KEY, "encryption_key"),
        ("MAIL_PROXY_ENCRYPTION_KEY", KEY, "encryption_key"),
        ("PILLARBOX_HTTP_LISTEN", "127.0.0.1:9", "http.listen"),
        ("PILLARBOX_SMTP_LISTEN", "127.0.0.1:9", "smtp.listen"),
        ("PILLARBOX_SMTPS_LISTEN", "127.0.0.1:9", "smtp.tls_listen"),
        ("PILLARBOX_TLS_CERT", "cert.pem", "smtp.tls_cert"),
        ("PILLARBOX_TLS_KEY", "key.pem", "smtp.tls_key"),
        ("PILLARBOX_SMTP_REQUIRE_TLS", "true", "smtp.require_tls"),
        ("PILLARBOX_MAX_MESSAGE_BYTES", "1000", "limits.max_message_bytes"),
        ("PILLARBOX_WORKERS", "1", "workers"),
        ("PILLARBOX_LOG_FORMAT", "JSON", "log.format"),
        ("PILLARBOX_COMPAT", "genro", "compat"),
        ("PILLARBOX_DISPATCH_LEASE_S", "5", "dispatch.lease_s"),
    ],
)
def test_each_variable_of_the_contract_sets_its_key(
    tmp_path: Path, name: str, value: str, key: str
) -> None:
    (tmp_path / "one").mkdir()
    for pem in ("cert.pem", "key.pem"):
        (tmp_path / "one" / pem).touch()
    environ = {
        "PILLARBOX_TLS_CERT": "cert.pem",
        "PILLARBOX_TLS_KEY": "key.pem",
        "PILLARBOX_ENCRYPTION_KEY_FILE": str(tmp_path / "key"),
    }
    (tmp_path / "key").write_text(KEY)
    if key == "encryption_key":
        del environ["PILLARBOX_ENCRYPTION_KEY_FILE"]
    assert load(tmp_path, environ | {name: value}).origins[key] == name


def test_our_name_beats_an_alias(tmp_path: Path) -> None:
    config = load(tmp_path, {"GMP_API_TOKEN": "theirs", "PILLARBOX_API_TOKEN": "ours"})
    assert config.http.api_token == SecretStr("ours")


def test_the_alias_for_the_database_takes_a_bare_path(tmp_path: Path) -> None:
    assert load(tmp_path, {"GMP_DB_PATH": "/data/mail.db"}).database.sqlite_path == Path(
        "/data/mail.db"
    )
    assert load(tmp_path, {"GMP_DB_PATH": PG, "PILLARBOX_ENCRYPTION_KEY": KEY}).database.url == (
        SecretStr(PG)
    )


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.is_secret])
def test_every_secret_can_be_in_a_file(tmp_path: Path, setting: Setting) -> None:
    key, names, *_ = setting
    value = {"encryption_key": KEY, "database.url": "sqlite:/data/x.db"}.get(key, "t" * 20)
    (tmp_path / "secret").write_text(f"{value}\n")
    for name in names:
        config = load(tmp_path, {f"{name}_FILE": str(tmp_path / "secret")})
        assert config.origins[key] == f"{name}_FILE={tmp_path}/secret"
        section, _, field = key.rpartition(".")
        holder = getattr(config, section) if section else config
        assert getattr(holder, field) == SecretStr(value)


def test_a_secret_given_twice_is_a_mistake(tmp_path: Path) -> None:
    environ = {"PILLARBOX_API_TOKEN": "t" * 20, "PILLARBOX_API_TOKEN_FILE": "/t"}
    [line] = mistakes(tmp_path, environ)
    assert line.startswith("http.api_token: is given twice")


def test_the_key_mounted_by_docker_is_found(tmp_path: Path) -> None:
    (tmp_path / "run-secrets").mkdir()
    (tmp_path / "run-secrets" / "encryption_key").write_text(KEY + "\n")
    config = load(tmp_path)
    assert config.encryption_key == SecretStr(KEY)
    assert config.origins["encryption_key"] == str(tmp_path / "run-secrets" / "encryption_key")


def test_empty_is_the_same_as_not_given(tmp_path: Path) -> None:
    config = load(tmp_path, {"PILLARBOX_API_TOKEN": ""}, '[log]\nlevel = ""', smtp__hostname="")
    assert config.http.api_token is None
    assert config.log.level == "info"
    assert config.smtp.hostname


def test_every_mistake_is_reported_at_once_with_its_origin(tmp_path: Path) -> None:
    lines = mistakes(
        tmp_path,
        {"PILLARBOX_SMTP_MAX_HOPS": "-1", "PILLARBOX_SMPT_LISTEN": "x"},
        "[smtp]\nlissten = 1\nmax_errors = true\n[retri]\njitter = 1\n",
        http__listen="8000",
        workers=2,
    )
    file = tmp_path / "one" / "pillarbox.toml"
    assert lines == [
        f"smtp.lissten: unknown key; did you mean smtp.listen? ({file})",
        f"retri.jitter: unknown key; did you mean retry.jitter? ({file})",
        "PILLARBOX_SMPT_LISTEN: unknown variable; did you mean PILLARBOX_SMTP_LISTEN? "
        "(environment)",
        f"smtp.max_errors: must be a number, got True ({file})",
        "smtp.max_hops: should be greater than or equal to 1, got '-1' (PILLARBOX_SMTP_MAX_HOPS)",
        "http.listen: must be host:port, such as 127.0.0.1:2525, [::1]:2525 or 0.0.0.0:2525, "
        "got '8000' (command line)",
        "workers: 2 processes need PostgreSQL: set database.url, or workers = 1 (command line)",
    ]


def test_what_follows_from_a_mistake_is_not_reported_too(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, {}, '[smtp]\nlisten = ["0.0.0.0:25"]\ntls_crt = "c.pem"\n')
    assert line.startswith("smtp.tls_crt: unknown key; did you mean smtp.tls_cert?")
    [line] = mistakes(tmp_path, {}, "this is no TOML")
    assert line.startswith("pillarbox.toml: ")


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    environ = {
        "PILLARBOX_API_TOKEN": "hunter2 with spaces",
        "PILLARBOX_ENCRYPTION_KEY": "hunter2",
        "PILLARBOX_DB": "mysql://root:hunter2@db",
    }
    assert "hunter2" not in "".join(mistakes(tmp_path, environ))
    config = load(tmp_path, {"PILLARBOX_DB": PG, "PILLARBOX_ENCRYPTION_KEY": KEY})
    assert "hunter2" not in repr(config)
    assert KEY not in repr(config)


def test_other_peoples_variables_are_left_alone(tmp_path: Path) -> None:
    load(
        tmp_path,
        {
            "PATH": "/bin",
            "PILLARBOX_HOME": "/data",
            "PILLARBOX_TEST_POSTGRES": "x",
            "PILLARBOX_SERVICE_HOST": "10.0.0.1",
            "PILLARBOX_SMTP_SERVICE_PORT_SMTP": "25",
            "PILLARBOX_PORT": "tcp://10.0.0.1:8000",
            "PILLARBOX_PORT_8000_TCP_ADDR": "10.0.0.1",
        },
    )
    assert mistakes(tmp_path, {"PILLARBOX_PORT": "8000"})


def test_the_name_by_the_rule_leads_to_the_name_of_the_contract(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, {"PILLARBOX_DATABASE_URL": PG})
    assert "did you mean PILLARBOX_DB?" in line


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:2525", "127.0.0.1", 2525),
        ("[::1]:25", "::1", 25),
        ("localhost:0", "localhost", 0),
        ("mail.acme.example:587", "mail.acme.example", 587),
    ],
)
def test_an_address_reads_as_it_is_written(text: str, host: str, port: int) -> None:
    listen = Listen.parse(text)
    assert listen == Listen(host, port)
    assert str(listen) == text
    assert Listen.parse(str(listen)) == listen


@pytest.mark.parametrize(
    "text",
    ["", ":25", "25", "::1:25", "[::1", "[x]:25", "a:65536", "a:-1", "a:٣", "a b:1", "a\n:1", "a:"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Listen.parse(text)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_only_what_stays_on_the_machine_is_loopback(host: str, is_loopback: bool) -> None:
    assert Listen(host, 25).is_loopback is is_loopback


def test_smtp_on_the_network_without_a_certificate_does_not_start(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, smtp__listen="127.0.0.1:25,0.0.0.0:25")
    assert "0.0.0.0:25 needs TLS for logins" in line
    assert "smtp.require_tls = false" in line
    load(tmp_path, smtp__listen="0.0.0.0:25", smtp__require_tls=False)
    [line] = mistakes(tmp_path, smtp__require_tls="yes")
    assert "127.0.0.1:2525 needs TLS" in line


def test_a_certificate_needs_its_key_and_both_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    cert = str(tmp_path / "cert.pem")
    assert "without its private key" in mistakes(tmp_path, smtp__tls_cert=cert)[0]
    assert "without its certificate" in mistakes(tmp_path, smtp__tls_key=cert)[0]
    [line] = mistakes(tmp_path, smtp__tls_cert=cert, smtp__tls_key="key.pem")
    assert f"smtp.tls_key: {tmp_path}/one/key.pem is not a file that can be read" in line
    [line] = mistakes(tmp_path, smtp__tls_listen="127.0.0.1:465")
    assert "smtp.tls_listen: needs a certificate" in line
    config = load(tmp_path, smtp__tls_cert=cert, smtp__tls_key=cert, smtp__listen="0.0.0.0:25")
    assert config.smtp.needs_tls(Listen("0.0.0.0", 25))
    assert not config.smtp.needs_tls(Listen("127.0.0.1", 25))


def test_rest_on_the_network_needs_a_token_that_cannot_be_guessed(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, http__listen="0.0.0.0:80", http__api_token="short")
    assert "http.api_token: must be at least 16 characters" in line
    load(tmp_path, http__listen="127.0.0.1:80", http__api_token="short")
    load(tmp_path, http__listen="0.0.0.0:80")


def test_old_tls_is_for_addresses_that_are_listened_on(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, smtp__old_tls_listen="127.0.0.1:2526")
    assert "127.0.0.1:2526 is neither in smtp.listen nor in smtp.tls_listen" in line
    load(tmp_path, smtp__old_tls_listen="127.0.0.1:2525")


def test_more_certificates_stand_beside_a_first_one(tmp_path: Path) -> None:
    [unreadable, alone] = mistakes(tmp_path, smtp__more_certs="/nowhere.pem")
    assert "smtp.more_certs: /nowhere.pem is not a file that can be read" in unreadable
    assert "smtp.more_certs: comes beside a first certificate" in alone


def test_there_is_room_for_one_mail_at_least(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, smtp__max_receiving_bytes=26_214_399)
    assert "smtp.max_receiving_bytes: has no room for one mail" in line
    load(tmp_path, smtp__max_receiving_bytes=26_214_400)


def test_one_address_cannot_be_listened_on_twice(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, smtp__listen="127.0.0.1:8000")
    assert "127.0.0.1:8000 is already listened on by smtp.listen" in line
    load(tmp_path, smtp__listen="127.0.0.1:0,127.0.0.1:0", http__listen="127.0.0.1:0")


def test_postgresql_needs_a_key_and_sqlite_one_process(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, {"PILLARBOX_DB": PG}, workers=4)
    assert line.startswith("encryption_key: is required with PostgreSQL")
    config = load(tmp_path, {"PILLARBOX_DB": PG, "PILLARBOX_ENCRYPTION_KEY": KEY}, workers=4)
    assert config.workers == 4
    assert config.database.sqlite_path is None
    assert "need PostgreSQL" in mistakes(tmp_path, workers=4)[0]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/d", "must be sqlite"),
        ("pillarbox.db", "must be sqlite"),
        ("sqlite:", "names no file"),
        ("sqlite://x/y", "names no file"),
        ("sqlite::memory:", "would lose accepted mail"),
        ("sqlite:a\0b", "control character"),
    ],
)
def test_a_database_that_is_none_is_refused(tmp_path: Path, url: str, says: str) -> None:
    assert says in mistakes(tmp_path, database__url=url)[0]


def test_relative_paths_count_from_the_instance_folder(tmp_path: Path) -> None:
    config = load(tmp_path, database__url="sqlite:mail.db")
    assert config.database.sqlite_path == tmp_path / "one" / "mail.db"
    config = load(tmp_path, database__url="sqlite:///data/mail.db")
    assert config.database.sqlite_path == Path("/data/mail.db")


def test_compat_genro_makes_the_tick_half_a_second_unless_given(tmp_path: Path) -> None:
    assert load(tmp_path).dispatch.tick_s == 0
    assert load(tmp_path, compat="genro").dispatch.tick_s == 0.5
    assert load(tmp_path, compat="genro", dispatch__tick_s=0).dispatch.tick_s == 0


def test_derived_values_follow_what_they_derive_from(tmp_path: Path) -> None:
    config = load(tmp_path, {"PILLARBOX_MAX_MESSAGE_BYTES": "1000"}, smtp__hostname="mx.acme.test")
    assert config.http.max_body_bytes == 1400 + 65536
    assert config.smtp.max_receiving_bytes == 10_000
    assert config.upstream.helo_name == "mx.acme.test"


def test_a_section_is_a_table_and_a_value_is_none(tmp_path: Path) -> None:
    assert "smtp: is a section: write [smtp]" in mistakes(tmp_path, toml="smtp = 3")[0]
    assert mistakes(tmp_path, toml="[workers]\nn = 1")[0].startswith("workers: should be a valid")
    assert mistakes(tmp_path, toml="[smtp.listen]\na = 1")[0].startswith("smtp.listen: ")


def test_a_file_that_cannot_be_read_is_no_empty_file(tmp_path: Path) -> None:
    (tmp_path / "one" / "pillarbox.toml").mkdir(parents=True)
    assert "cannot be read: Is a directory" in mistakes(tmp_path)[0]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "x" * 65, "a\n"])
def test_a_name_that_leaves_the_home_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        Config.load(home=tmp_path, name=name, environ={})


@pytest.mark.parametrize("home", ["a\nb", "a\0b", "\udc80"])
def test_a_home_that_cannot_be_shown_is_refused(tmp_path: Path, home: str) -> None:
    with pytest.raises(ConfigError, match="PILLARBOX_HOME"):
        Config.load(home=tmp_path / home, name="one", environ={})


def test_the_tree_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path)
    with pytest.raises(ValidationError):
        config.smtp.max_hops = 1
    with pytest.raises(TypeError):
        config.origins["x"] = "y"  # type: ignore[index] # that is the point


NAMES = st.sampled_from([each.toml_key for each in SETTINGS]) | st.text(max_size=12)
VARIABLES = (
    st.sampled_from([name for each in SETTINGS for name in each.env_names])
    | st.sampled_from([f"{name}_FILE" for each in SETTINGS for name in each.env_names])
    | st.text(max_size=12).map(lambda text: f"PILLARBOX_{text}")
)
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["0", "-1", "nan", "inf", "1e999", "9" * 5000, "a\0b", "\udc80", "/" + "x" * 300, "[::1]:25"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3)
)
LITERALS = st.sampled_from(
    ["1", "-1", "nan", '""', '"x"', "[]", "[[]]", "{}", "{a=1}", "1979-05-27", "true", "9" * 5000]
)
TABLES = st.lists(st.tuples(NAMES, LITERALS).map(" = ".join) | st.text(max_size=20)).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(
    environ=st.dictionaries(VARIABLES, TEXTS, max_size=4),
    overrides=st.dictionaries(NAMES, VALUES, max_size=4),
    toml=TABLES.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=50),
)
def test_no_mistake_raises_anything_but_config_error(
    tmp_path_factory: pytest.TempPathFactory,
    environ: dict[str, str],
    overrides: dict[str, object],
    toml: bytes,
) -> None:
    home = tmp_path_factory.getbasetemp()
    (home / "one").mkdir(exist_ok=True)
    (home / "one" / "pillarbox.toml").write_bytes(toml)
    try:
        Config.load(
            home=home, name="one", environ=environ, overrides=overrides, run_secrets=home / "none"
        )
    except ConfigError as error:
        lines = str(error).split("\n")
        assert all(line.isprintable() for line in lines)
        assert all(": " in line and line.endswith(")") for line in lines)
