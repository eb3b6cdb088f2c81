"""The relays that are measured, each running on this machine with a sink of its own behind it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cost import children
from bench.pillarbox import Login, Pillarbox
from bench.sink import Sink
from tests.conftest import PostgresServer, postgres_programs
from tests.peers.private_postfix import PrivatePostfix, free_ports

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


@dataclass(frozen=True, slots=True)
class Relay:
    """`pids` are the processes whose cost is counted, each with all that it started."""

    name: str
    port: int
    pids: tuple[int, ...]
    sink: Sink
    login: Login | None = None


@contextmanager
def pillarbox(folder: Path, database: str) -> Iterator[tuple[Relay, Pillarbox]]:
    """Run a Pillarbox on `sqlite` or `postgres`."""
    with ExitStack() as stack:
        [sink_port] = free_ports(1)
        sink = Sink(sink_port)
        stack.callback(sink.stop)
        url, pids = stack.enter_context(postgres()) if database == "postgres" else (None, ())
        process = Pillarbox(folder, sink_port, url)
        stack.callback(process.stop)
        relay = Relay("Pillarbox", process.smtp_port, (process.pid, *pids), sink, process.login)
        yield relay, process


@contextmanager
def postfix(folder: Path, profile: str) -> Iterator[Relay]:
    """Run a Postfix, `default` or `tuned`, which relays for whoever is on loopback."""
    with ExitStack() as stack:
        port, sink_port = free_ports(2)
        sink = Sink(sink_port)
        stack.callback(sink.stop)
        settings = POSTFIX_DEFAULT + (POSTFIX_TUNED if profile == "tuned" else "")
        settings = settings.format(sink_port=sink_port)
        server = PrivatePostfix(folder / "postfix", settings, {port: ""})
        stack.callback(server.stop)
        server.lay_out()
        server.start()
        yield Relay(f"Postfix ({profile})", port, (server.master_pid,), sink)


@contextmanager
def postgres() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Run a PostgreSQL of our own, with fsync on; yield its DSN and its process."""
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("no PostgreSQL: install the [dev] extra")
    server = PostgresServer(programs)
    before = children(os.getpid())
    try:
        server.start()
        yield server.dsn("postgres"), tuple(children(os.getpid()) - before)
    finally:
        server.stop()
