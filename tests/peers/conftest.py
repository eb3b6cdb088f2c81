"""Tests with real servers and clients; `@pytest.mark.peers("postfix", "swaks")` says which.

Where a peer is not installed its tests are skipped and say so, so that plain `pytest` passes
anywhere; with PILLARBOX_REQUIRE_PEERS set they fail instead.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import trustme

from relay.crypto import digest
from relay.model import Credential, SecretKind
from tests.fakes.upstream import FakeUpstream
from tests.peers.dovecot import Dovecot
from tests.peers.postfix import Postfix
from tests.scenarios.conftest import Relay, open_node

REQUIRED = bool(os.environ.get("PILLARBOX_REQUIRE_PEERS"))
USER = "billing"
PASSWORD = "a secret of the relay"
JAVAMAIL_JARS = ("/usr/share/java/javax.mail.jar", "/usr/share/java/javax.activation.jar")
DOVECOT_PROGRAMS = Path("/usr/lib/dovecot")


def lacks_postfix() -> str | None:
    programs = [name for name in ("postfix", "dovecot", "doveadm") if not shutil.which(name)]
    if programs:
        return f"{', '.join(programs)} not installed"
    return "Postfix starts as root only" if os.geteuid() != 0 else None


def lacks_dovecot() -> str | None:
    programs = [name for name in ("dovecot", "doveadm") if not shutil.which(name)]
    if programs:
        return f"{', '.join(programs)} not installed"
    parts = [name for name in ("imap", "lmtp") if not (DOVECOT_PROGRAMS / name).exists()]
    if parts:
        return f"Dovecot's {', '.join(parts)} not installed"
    return "Dovecot starts as root only" if os.geteuid() != 0 else None


def lacks_swaks() -> str | None:
    if shutil.which("swaks") is None:
        return "swaks not installed"
    has_tls = subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], capture_output=True, check=False)
    return "swaks has no TLS (Net::SSLeay)" if has_tls.returncode else None


def lacks_nodemailer() -> str | None:
    node = shutil.which("node")
    if node is None:
        return "node not installed"
    found = subprocess.run(
        [node, "-e", "require.resolve('nodemailer')"], capture_output=True, check=False
    )
    return "nodemailer not installed where NODE_PATH says" if found.returncode else None


def lacks_git() -> str | None:
    git = shutil.which("git")
    if git is None:
        return "git not installed"
    shown = subprocess.run([git, "--exec-path"], capture_output=True, check=True, text=True)
    program = Path(shown.stdout.strip()) / "git-send-email"
    needed = ["perl", "-MMail::Address", "-e", "1"]
    if program.exists() and not subprocess.run(needed, capture_output=True, check=False).returncode:
        return None
    return "git send-email, or its Mail::Address, not installed"


def lacks_sasl() -> str | None:
    """Say what a Postfix that is to log in somewhere lacks."""
    folders = (Path("/usr/lib"), Path("/usr/lib64"))
    found = any(any(folder.glob("**/sasl2/libplain.so*")) for folder in folders)
    return None if found else "Cyrus SASL has no PLAIN (libsasl2-modules)"


def lacks_django() -> str | None:
    return None if find_spec("django") else "Django not installed"


def lacks_phpmailer() -> str | None:
    php = shutil.which("php")
    if php is None:
        return "php not installed"
    code = "exit(stream_resolve_include_path('libphp-phpmailer/autoload.php') ? 0 : 1);"
    found = subprocess.run([php, "-r", code], capture_output=True, check=False)
    return "PHPMailer (libphp-phpmailer) not installed" if found.returncode else None


def lacks_javamail() -> str | None:
    if shutil.which("javac") is None:
        return "no JDK installed"
    missing = [jar for jar in JAVAMAIL_JARS if not Path(jar).exists()]
    return f"JavaMail ({', '.join(missing)}) not installed" if missing else None


def lacks_exim() -> str | None:
    exim = shutil.which("exim4")
    if exim is None:
        return "exim4 not installed"
    if os.geteuid() != 0:
        return "Exim takes a configuration of one's own from root only"
    # It starts only where there is the user that it was built for.
    started = subprocess.run([exim, "-C", os.devnull, "-bV"], capture_output=True, check=False)
    return "Exim has no user Debian-exim here" if started.returncode else None


def faketime_library() -> Path | None:
    """Find libfaketime, the one for programs with threads."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def lacks_faketime() -> str | None:
    return None if faketime_library() else "libfaketime not installed"


def lacks(program: str) -> str | None:
    return None if shutil.which(program) else f"{program} not installed"


PEERS: dict[str, Callable[[], str | None]] = {
    "git": lacks_git,
    "moto": partial(lacks, "moto_server"),
    "azurite": partial(lacks, "azurite-blob"),
    "php": partial(lacks, "php"),
    "s-nail": partial(lacks, "s-nail"),
    "mutt": partial(lacks, "mutt"),
    "msmtp": partial(lacks, "msmtp"),
    "curl": partial(lacks, "curl"),
    "strace": partial(lacks, "strace"),
    "faketime": lacks_faketime,
    "postfix": lacks_postfix,
    "sasl": lacks_sasl,
    "dovecot": lacks_dovecot,
    "swaks": lacks_swaks,
    "nodemailer": lacks_nodemailer,
    "django": lacks_django,
    "phpmailer": lacks_phpmailer,
    "javamail": lacks_javamail,
    "exim": lacks_exim,
}


@cache
def lack(peer: str) -> str | None:
    """Say why a peer cannot be used, None when it can. One without a rule is a program's name."""
    if peer in PEERS:
        return PEERS[peer]()
    return None if shutil.which(peer) else f"{peer} not installed"


def lacked(item: pytest.Item) -> list[str]:
    named = {peer: None for marker in item.iter_markers("peers") for peer in marker.args}
    return [reason for peer in named if (reason := lack(peer))]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not REQUIRED and (reasons := lacked(item)):
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if REQUIRED and (reasons := lacked(item)):
        pytest.fail("; ".join(reasons), pytrace=False)


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    with Postfix() as server:
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture
async def mailbox(postfix: Postfix) -> AsyncIterator[FakeUpstream]:
    """Where the mail that Postfix took ends."""
    server = FakeUpstream()
    await server.start(postfix.mailbox_port)
    yield server
    await server.stop()


@dataclass(frozen=True, slots=True)
class Doors:
    """What a client is told of the relay; `port` takes a login after STARTTLS only."""

    port: int
    tls_port: int
    ca_file: Path
    user: str = USER
    password: str = PASSWORD


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    """A whole node on SQLite, open to SMTP with STARTTLS and inside TLS, and its tenant `acme`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    node = await open_node(
        tmp_path / "home",
        f"sqlite:{tmp_path / 'pillarbox.db'}",
        **{
            "smtp.listen": "127.0.0.1:0",
            "smtp.tls_listen": "127.0.0.1:0",
            "smtp.require_tls": True,
            "smtp.tls_cert": str(tmp_path / "cert.pem"),
            "smtp.tls_key": str(tmp_path / "key.pem"),
        },
    )
    await node.start()
    relay = Relay(node)
    await relay.tenant("acme")
    yield relay
    await node.stop()


@pytest.fixture
async def doors(relay: Relay, tmp_path: Path) -> Doors:
    """The relay's doors, with a login that opens them."""
    login = Credential(USER, "acme", SecretKind.SHA256, digest(PASSWORD))
    await relay.node.stores.credentials.save(login)
    ports = {endpoint.implicit_tls: port for endpoint, _, port in relay.node.smtp.addresses}
    return Doors(ports[False], ports[True], tmp_path / "ca.pem")


@pytest.fixture
async def upstream(relay: Relay) -> AsyncIterator[FakeUpstream]:
    """Where the tenant's mail leads to."""
    async with FakeUpstream() as server:
        await relay.account(server)
        yield server
