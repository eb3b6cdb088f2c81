"""The relays that are measured, each running on this machine with a sink of its own behind it."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.certificate import Certificate
from bench.cost import children
from bench.pillarbox import TENANT, Login, Pillarbox, Upstream
from bench.sink import Sink, plain_sink, tls_sink
from tests.conftest import PostgresServer, postgres_programs
from tests.peers.private_postfix import PrivatePostfix, free_ports
from tests.process import RUN

POSTFIX_DEFAULT = """
myhostname = postfix.test
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink_port}
message_size_limit = 52428800
smtp_host_lookup = native
"""
# Everything that made Postfix faster in any trial.
POSTFIX_TUNED = """
in_flow_delay = 0
receive_override_options =
    no_header_body_checks,no_unknown_recipient_checks,no_address_mappings
disable_mime_input_processing = yes
smtpd_peername_lookup = no
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtp_connection_cache_destinations = [127.0.0.1]:{sink_port}
smtpd_client_event_limit_exceptions = static:all
"""


# The same way of securing mail on both sides as Pillarbox has here: TLS from the first byte.
POSTFIX_TLS = """
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {key}, {chain}
smtp_tls_security_level = encrypt
smtp_tls_wrappermode = yes
"""
POSTFIX_TLS_TUNED = """
smtp_tls_connection_reuse = yes
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How a Pillarbox runs. Several nodes share a PostgreSQL; with a certificate mail comes and
    goes inside TLS; with a file for `lags` its event loop is watched (`bench.watched`).
    """

    database: str = "sqlite"
    nodes: int = 1
    certificate: Certificate | None = None
    lags: Path | None = None

    @property
    def program(self) -> Sequence[str | Path]:
        return RUN if self.lags is None else watched(self.lags)


@dataclass(frozen=True, slots=True)
class Relay:
    """`pids` are the processes whose cost is counted, each with all that it started."""

    name: str
    port: int
    pids: tuple[int, ...]
    sink: Sink
    login: Login | None = None


@contextmanager
def pillarbox(
    folder: Path, setup: Setup, name: str = "Pillarbox"
) -> Iterator[tuple[Relay, Pillarbox]]:
    """Run a Pillarbox with a sink behind it, to which a tenant's account leads."""
    with ExitStack() as stack:
        sink = stack.enter_context(sink_of(setup.certificate))
        settings, pids = stack.enter_context(store(folder, setup.database))
        settings = {**settings, "PILLARBOX_WORKERS": str(setup.nodes), **tls_settings(setup)}
        process = stack.enter_context(running(folder, settings, setup.program))
        tls = "implicit" if setup.certificate else "none"
        login = process.add_tenant(TENANT, Upstream(sink.port, tls))
        port = process.tls_port if setup.certificate else process.smtp_port
        yield Relay(name, port, (process.pid, *pids), sink, login), process


@contextmanager
def running(
    folder: Path, settings: Mapping[str, str], program: Sequence[str | Path] = RUN
) -> Iterator[Pillarbox]:
    process = Pillarbox(folder, settings, program)
    try:
        yield process
    finally:
        process.stop()


def watched(lags: Path) -> Sequence[str | Path]:
    return (sys.executable, "-m", "bench.watched", lags)


def tls_settings(setup: Setup) -> dict[str, str]:
    if setup.certificate is None:
        return {}
    return {
        "PILLARBOX_TLS_CERT": str(setup.certificate.chain),
        "PILLARBOX_TLS_KEY": str(setup.certificate.key),
    }


@contextmanager
def sink_of(certificate: Certificate | None) -> Iterator[Sink]:
    [port] = free_ports(1)
    sink = plain_sink(port) if certificate is None else tls_sink(port, certificate)
    try:
        yield sink
    finally:
        sink.stop()


@contextmanager
def postfix(folder: Path, profile: str, certificate: Certificate | None = None) -> Iterator[Relay]:
    """Run a Postfix, `default` or `tuned`, which relays for whoever is on loopback."""
    with ExitStack() as stack:
        [port] = free_ports(1)
        sink = stack.enter_context(sink_of(certificate))
        settings = postfix_settings(profile, sink.port, certificate)
        door = "-o smtpd_tls_wrappermode=yes" if certificate else ""
        server = PrivatePostfix(folder / "postfix", settings, {port: door})
        stack.callback(server.stop)
        server.lay_out()
        server.start()
        yield Relay(f"Postfix ({profile})", port, (server.master_pid,), sink)


def postfix_settings(profile: str, sink_port: int, certificate: Certificate | None) -> str:
    is_tuned = profile == "tuned"
    settings = POSTFIX_DEFAULT + (POSTFIX_TUNED if is_tuned else "")
    settings = settings.format(sink_port=sink_port)
    if certificate is not None:
        settings += POSTFIX_TLS.format(key=certificate.key, chain=certificate.chain)
        settings += POSTFIX_TLS_TUNED if is_tuned else ""
    return settings


@contextmanager
def store(folder: Path, database: str) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """Yield the settings of a Pillarbox on `sqlite` or `postgres`, and the processes of its
    database.
    """
    if database == "sqlite":
        yield {"PILLARBOX_DB": f"sqlite:{folder / 'pillarbox.db'}"}, ()
        return
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("no PostgreSQL: install the [dev] extra")
    server = PostgresServer(programs, folder)
    before = children(os.getpid())
    try:
        server.start()
        pids = tuple(children(os.getpid()) - before)
        yield {"PILLARBOX_DB": server.dsn("postgres")}, pids
    finally:
        server.stop()
