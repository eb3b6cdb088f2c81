"""The SMTP servers of a node: sockets, certificate, start and stop.

Promises: `start` returns when every address is bound; `stop` stops listening at once, says goodbye
to the silent, lets a mail under way be finished inside the budget, and returns when nothing is
being stored any more; a certificate that changes is taken up within `CERTIFICATE_CHECK_S`.
"""

import asyncio
import socket
import ssl

from relay import maillog
from relay.errors import ConfigError, StoreUnavailable
from relay.ingress.accept import Door
from relay.ingress.auth import Authenticator
from relay.ingress.networks import public_networks
from relay.ingress.smtp.connections import Connections
from relay.ingress.smtp.proxy import ProxiedServer, listening_sockets
from relay.ingress.smtp.receiving import Receiving
from relay.ingress.smtp.session import HANDSHAKE_S, Services, Session
from relay.ingress.smtp.settings import Endpoint, SmtpSettings
from relay.ingress.smtp.tls import Certificates, Pair
from relay.metrics import Metrics

BACKLOG = 1024
CERTIFICATE_CHECK_S = 60.0


class SmtpListener:
    def __init__(
        self, door: Door, authenticator: Authenticator, metrics: Metrics, settings: SmtpSettings
    ) -> None:
        """Raise ConfigError when the certificate cannot be used, or is missing."""
        self._certificates = certificates(settings)
        self._authenticator = authenticator
        self._settings = settings
        self._connections = Connections(settings.max_connections, settings.max_connections_per_ip)
        self._services = Services(
            door,
            authenticator,
            metrics,
            settings,
            self._connections,
            self._certificates,
            Receiving(settings.max_receiving_bytes),
        )
        self._servers: list[tuple[Endpoint, asyncio.Server | ProxiedServer]] = []
        self._watch: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> list[tuple[Endpoint, str, int]]:
        """What was bound, host and port, and for which endpoint of the settings."""
        return [
            (endpoint, *bound.getsockname()[:2])
            for endpoint, server in self._servers
            for bound in server.sockets
        ]

    @property
    def held_bytes(self) -> int:
        """How much content is being received."""
        return self._services.receiving.held_bytes

    async def start(self) -> None:
        """Listen. Raises ConfigError when an address cannot be bound; then none is."""
        try:
            for endpoint in self._settings.endpoints:
                self._servers.append((endpoint, await self._listen(endpoint)))
        except OSError as error:
            self._close_servers()
            raise ConfigError(f"{endpoint.host}:{endpoint.port}: {error.strerror}") from error
        for endpoint, host, port in self.addresses:
            maillog.listening("smtps" if endpoint.implicit_tls else "smtp", f"{host}:{port}")
        await self._warn_of_open_networks()
        if self._certificates is not None:
            self._watch = asyncio.create_task(self._watch_certificate())

    async def stop(self, budget_s: float) -> None:
        self._close_servers()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._connections.close(budget_s)

    def reload_certificates(self) -> None:
        """Read the certificate again if its files changed; a bad one is reported and not used."""
        if self._certificates is None:
            return
        try:
            self._certificates.reload()
        except ConfigError as error:
            maillog.unexpected("certificate", error)

    async def _listen(self, endpoint: Endpoint) -> asyncio.Server | ProxiedServer:
        if self._settings.proxy_networks:
            return await self._listen_behind_proxies(endpoint)
        wrapped = self._wrapped(endpoint)
        return await asyncio.get_running_loop().create_server(
            lambda: Session(self._services, endpoint),
            endpoint.host,
            endpoint.port,
            backlog=BACKLOG,
            reuse_port=self._settings.share_ports or None,
            ssl=wrapped,
            ssl_handshake_timeout=HANDSHAKE_S if wrapped else None,
        )

    async def _listen_behind_proxies(self, endpoint: Endpoint) -> ProxiedServer:
        wrapped = self._wrapped(endpoint)

        async def serve(client: socket.socket, source_ip: str | None) -> None:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Session(self._services, endpoint, source_ip),
                client,
                ssl=wrapped,
                ssl_handshake_timeout=HANDSHAKE_S if wrapped else None,
            )

        share = self._settings.share_ports
        sockets = await listening_sockets(endpoint.host, endpoint.port, share=share)
        server = ProxiedServer(sockets, self._settings.proxy_networks)
        server.start(serve)
        return server

    def _wrapped(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """Return what an endpoint inside TLS begins with."""
        if self._certificates is None or not endpoint.implicit_tls:
            return None
        return self._certificates.context(endpoint)

    async def _warn_of_open_networks(self) -> None:
        try:
            logins = await self._authenticator.networked()
        except StoreUnavailable as error:
            maillog.store_trouble(error)
            return
        for login in logins:
            networks = public_networks(login)
            if networks:
                maillog.open_network(login.tenant_id, login.username, ",".join(networks))

    def _close_servers(self) -> None:
        for _, server in self._servers:
            server.close()

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            self.reload_certificates()


def certificates(settings: SmtpSettings) -> Certificates | None:
    """Read them, if there are any. Raises ConfigError where one is needed and missing."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        more = [Pair(path, path) for path in settings.more_certs]
        return Certificates([Pair(settings.tls_cert, settings.tls_key), *more])
    if any(endpoint.implicit_tls for endpoint in settings.endpoints):
        raise ConfigError("smtp.tls_listen needs smtp.tls_cert and smtp.tls_key")
    return None
