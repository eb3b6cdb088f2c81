"""The Sanic application: every route of the API, its token, its deadline, and how failures are
answered.

The home of Sanic, with `protocol` and `server`. A handler is given a `Call` and returns an
`Answer`, and meets no framework. The token is looked at before the body is read, so a stranger
cannot fill the memory. Our own trouble is 503, 507 or 429 with Retry-After; what nobody foresaw is
500 and its traceback is in the log only.
"""

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from types import SimpleNamespace
from typing import Any

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
    strict_json,
    suppressions,
    suspension,
    tenants,
)
from admin_api.auth import ADMIN, Caller, identify, token
from admin_api.local import is_operator
from admin_api.problems import Answer, Problem, again, answer_to
from admin_api.routes import Access, Call, Route, Stream
from admin_api.services import ApiSettings, Services
from relay import maillog
from relay.errors import RelayError

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
STRANGER = Caller("")
# Nothing is kept on the way, or taken for something else than it says.
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_INTERNAL = Answer({"detail": "internal error"}, 500)
_PHRASES = {
    400: "the request is not HTTP as it should be",
    404: "no such route",
    405: "the route does not know this method",
    408: "the request came too slowly",
    413: "the request is too large",
}

App = Sanic[Config, SimpleNamespace]
Served = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]


def build_app(services: Services) -> App:
    """Build one application; any number may live in a process."""
    app: App = Sanic(
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


def served(route: Route, services: Services) -> Served:
    """Wrap a route's handler for Sanic."""

    async def handle(request: Request, **path: str) -> HTTPResponse | None:
        answer = await answered(route, services, request, path)
        if isinstance(answer, Answer):
            return response(answer)
        await send(request, answer)
        return None

    return handle


async def answered(
    route: Route, services: Services, request: Request, path: dict[str, str]
) -> Answer | Stream:
    """Answer one request, whatever happens, and log it if it was to change something."""

    async def identified() -> Answer | Stream:
        caller = await caller_of(route, request, services)
        answer = await guarded(route, obeyed(route, services, request, path, caller))
        if route.method not in ("GET", "HEAD"):
            status = answer.status
            call = call_of(request, path, caller)
            now = services.database.now()
            services.command_log.note(command_log.noted(route, call, status, now))
        return answer

    return await guarded(route, identified())


async def caller_of(route: Route, request: Request, services: Services) -> Caller:
    """Return who calls: by the token, or without one by the local socket. Raises 401, 429."""
    given = token(request.headers)
    if given is None and is_operator(socket_of(request)):
        return ADMIN
    if route.access is Access.OPEN:
        return STRANGER
    try:
        return await identify(request.headers, services, peer_of(request))
    except Problem:
        if given:
            maillog.token_refused(peer_of(request) or "", f"{route.method} {route.path}")
        raise


def socket_of(request: Request) -> socket.socket | None:
    transport = request.transport
    if transport is None:
        return None
    found: socket.socket | None = transport.get_extra_info("socket")
    return found


def peer_of(request: Request) -> str | None:
    return request.conn_info.client_ip or None if request.conn_info else None


async def guarded(route: Route, work: Awaitable[Answer | Stream]) -> Answer | Stream:
    try:
        return await work
    except Problem as problem:
        return problem.answer
    except SanicException:
        raise
    except TimeoutError:
        return again(503, "not done in time; it may be done yet")
    except RelayError as error:
        return answer_to(error) or unexpected(route, error)
    except Exception as error:  # noqa: BLE001 - one broken request must not show its traceback, nor end the server
        return unexpected(route, error)


async def obeyed(
    route: Route, services: Services, request: Request, path: dict[str, str], caller: Caller
) -> Answer | Stream:
    """Read the body, now that the token was looked at, and do what is asked. Raises Problem."""
    if route.access is Access.ADMIN:
        caller.require_admin()
    stream = request.stream
    if stream is not None and stream.request_body:
        stream.request_max_size = services.settings.max_body_bytes
        await request.receive_body()  # type: ignore[no-untyped-call] # Sanic
    async with asyncio.timeout(services.settings.request_deadline_s):
        return await route.handler(services, call_of(request, path, caller))


def call_of(request: Request, path: dict[str, str], caller: Caller) -> Call:
    return Call(
        caller=caller,
        path=path,
        query=request.get_args(keep_blank_values=True),
        headers=request.headers,
        body=request.body,
        peer_ip=peer_of(request),
    )


def unexpected(route: Route, error: Exception) -> Answer:
    maillog.unexpected(f"{route.method} {route.path}", error)
    return _INTERNAL


def response(answer: Answer) -> HTTPResponse:
    body = (
        answer.body if isinstance(answer.body, bytes) else strict_json.dumps(answer.body).encode()
    )
    headers = {**_ALWAYS, **answer.headers}
    return HTTPResponse(body, answer.status, headers=headers, content_type=answer.content_type)


async def send(request: Request, stream: Stream) -> None:
    """Send a long answer. An error after its first piece ends the connection, so that the client
    sees that the answer is cut.
    """
    reply = await request.respond(
        status=stream.status,
        headers={**_ALWAYS, **stream.headers},
        content_type=stream.content_type,
    )
    try:
        async for piece in stream.pieces:
            await reply.send(piece)
        await reply.eof()
    except Exception as error:  # noqa: BLE001 - Sanic would end the answer as if it were whole
        maillog.unexpected(place_of(request), error)
        if request.transport is not None:
            request.transport.close()


def place_of(request: Request) -> str:
    """Name the route that was asked, without what stood in it: a link to a file is a secret."""
    return f"{request.method} {request.uri_template or 'no route'}"


class JsonErrors(ErrorHandler):
    """Answers what Sanic itself refuses: unknown routes and methods, what is no HTTP, what is too
    large or slow.
    """

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        status = getattr(exception, "status_code", 500)
        if isinstance(exception, RequestCancelled):
            return response(_INTERNAL)  # to nobody: the client has left
        if not isinstance(exception, SanicException) or status >= 500:
            maillog.unexpected(place_of(request), exception)
            return response(_INTERNAL)
        headers = {}
        if isinstance(exception, MethodNotAllowed):
            headers["Allow"] = exception.headers.get("Allow", "")
        return response(
            Answer({"detail": _PHRASES.get(status, "refused")}, status, headers=headers)
        )


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
