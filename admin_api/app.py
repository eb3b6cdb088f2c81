"""The Sanic application: every route of the API, and how is answered what never reaches one.

The home of Sanic, with `answering`, `protocol`, `strict_http` and `server`.
"""

import uuid
from functools import cache
from types import SimpleNamespace

from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config
from sanic.exceptions import MethodNotAllowed, RequestCancelled, SanicException
from sanic.handlers import ErrorHandler
from sanic.server.protocols.http_protocol import HttpProtocol

from admin_api import (
    accounts,
    add_messages,
    command_log,
    credentials,
    docs_page,
    download,
    events,
    instance,
    messages,
    node,
    openapi,
    operating,
    orders,
    raw_message,
    receipts,
    suppressions,
    suspension,
    tenants,
)
from admin_api.answering import INTERNAL, Reply, place_of, served
from admin_api.problems import Answer
from admin_api.routes import Access, Call, Route
from admin_api.services import ApiSettings, Services
from relay import maillog

ROUTES: tuple[Route, ...] = (
    *node.ROUTES,
    *add_messages.ROUTES,
    *raw_message.ROUTES,
    *messages.ROUTES,
    *receipts.ROUTES,
    *orders.ROUTES,
    *suspension.ROUTES,
    *events.ROUTES,
    *accounts.ROUTES,
    *tenants.ROUTES,
    *credentials.ROUTES,
    *suppressions.ROUTES,
    *instance.ROUTES,
    *command_log.ROUTES,
    *download.ROUTES,
    *operating.ROUTES,
)

KEEP_ALIVE_S = 15
IDLE_S = 60
_PHRASES = {
    400: "the request is not HTTP as it should be",
    404: "no such route",
    405: "the route does not know this method",
    408: "the request came too slowly",
    413: "the request is too large",
}


class App(Sanic[Config, SimpleNamespace]):
    """Sanic without middleware and signals, of which there are none here."""

    async def handle_request(self, request: Request) -> None:
        """Have a request answered by its route."""
        try:
            request.route, handle, path = self.router.get(request.path, request.method, None)
            reply = await handle(request, **path)
            if reply is not None and request.stream is not None:
                await request.stream.respond(reply).send(end_stream=True)
        except Exception as error:  # noqa: BLE001 - its answer says of which kind it is
            await self.handle_exception(request, error)


def build_app(services: Services) -> App:
    """Build one application; any number may live in a process."""
    app = App(
        f"pillarbox-{uuid.uuid4().hex}",
        config=configuration(services.settings),
        error_handler=JsonErrors(),
        configure_logging=False,
    )
    # Sanic keeps every app by name for ever, which nobody here asks for.
    Sanic.unregister_app(app)
    for route in (*ROUTES, *descriptions(services.version)):
        path = route.path.replace("{", "<").replace("}", ":str>")
        name = f"{route.method}-{route.path}"
        name = "".join(char if char.isalnum() else "-" for char in name)
        # A stream to Sanic: the handler itself has the body read, after the token was looked at.
        app.add_route(
            served(route, services),
            path,
            [route.method],
            name=name,
            stream=True,
            error_format="json",  # else Sanic reads the source of each handler to find it
            unquote=True,
        )
    return app


def configuration(settings: ApiSettings) -> Config:
    config = Config(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "FALLBACK_ERROR_FORMAT": "json",
            "GRACEFUL_TCP_CLOSE_TIMEOUT": 1.0,
            "KEEP_ALIVE_TIMEOUT": KEEP_ALIVE_S,
            "MOTD": False,
            "REQUEST_MAX_SIZE": settings.max_body_bytes,
            "REQUEST_TIMEOUT": IDLE_S,
            # Ours ends first, with an answer; Sanic's counts from the last byte.
            "RESPONSE_TIMEOUT": settings.request_deadline_s * 2,
            # Sanic rewrites its classes at start, for all apps of a process; a second time fails.
            "TOUCHUP": not getattr(HttpProtocol, "__touched__", False),
        },
        env_prefix=None,
    )
    config.MAX_CONNECTIONS = settings.max_connections
    config.REQUEST_DEADLINE_S = settings.request_deadline_s
    config.MIN_RATE_BYTES_S = settings.min_rate_bytes_s
    return config


class JsonErrors(ErrorHandler):
    """Answers what Sanic itself refuses: unknown routes and methods, what is no HTTP, what is too
    large or slow.
    """

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        status = getattr(exception, "status_code", 500)
        if isinstance(exception, RequestCancelled):
            return Reply(INTERNAL)  # to nobody: the client has left
        if not isinstance(exception, SanicException) or status >= 500:
            maillog.unexpected(place_of(request), exception)
            return Reply(INTERNAL)
        headers = {}
        if isinstance(exception, MethodNotAllowed):
            headers["Allow"] = exception.headers.get("Allow", "")
        return Reply(Answer({"detail": _PHRASES.get(status, "refused")}, status, headers=headers))


@cache
def openapi_document(version: str) -> dict[str, object]:
    """Build the document once, when it is first asked for: it takes longer than a node's start."""
    return openapi.document(ROUTES, version)


def descriptions(version: str) -> tuple[Route, ...]:
    """Return the routes that describe the others."""

    async def show_openapi(_services: Services, _call: Call) -> Answer:
        return Answer(openapi_document(version))

    async def show_docs(_services: Services, _call: Call) -> Answer:
        page = docs_page.page(ROUTES, openapi_document(version))
        return Answer(
            page.encode(),
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": docs_page.POLICY},
        )

    return (
        Route("GET", "/openapi.json", show_openapi, Access.OPEN, "This document"),
        Route("GET", "/docs", show_docs, Access.OPEN, "This page", answer_type="text/html"),
    )
