"""One request, from its token to its answer.

A handler is given a `Call` and returns an `Answer`, and meets no framework. The token is looked at
before the body is read, so a stranger cannot fill the memory. Our own trouble is 503, 507 or 429
with Retry-After; what nobody foresaw is 500 and its traceback is in the log only.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from functools import lru_cache
from typing import Any

from sanic import HTTPResponse, Request
from sanic.exceptions import SanicException

from admin_api import command_log, strict_json
from admin_api.auth import ADMIN, Caller, identify, token
from admin_api.local import is_operator
from admin_api.problems import Answer, Problem, again, answer_to
from admin_api.routes import Access, Call, Route, Stream
from admin_api.services import Services
from relay import maillog
from relay.errors import RelayError

Served = Callable[..., Coroutine[Any, Any, HTTPResponse | None]]

STRANGER = Caller("")
INTERNAL = Answer({"detail": "internal error"}, 500)
# Nothing is kept on the way, or taken for something else than it says.
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_LINE_ENDS = str.maketrans("", "", "\r\n\0")


class Reply(HTTPResponse):
    """An answer as Sanic sends it: its headers are mostly those of the answer before."""

    __slots__ = ()

    def __init__(self, answer: Answer) -> None:
        body = answer.body
        super().__init__(
            body if isinstance(body, bytes) else strict_json.dumps(body),
            answer.status,
            headers={"Content-Type": answer.content_type, **_ALWAYS, **answer.headers},
        )

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        return iter([written(name, str(value)) for name, value in self.headers.items()])


@lru_cache(maxsize=256)
def written(name: str, value: str) -> tuple[bytes, bytes]:
    """Return a header as it is sent; what would end its line is left out."""
    return name.translate(_LINE_ENDS).encode(), value.translate(_LINE_ENDS).encode()


def served(route: Route, services: Services) -> Served:
    """Wrap a route's handler for Sanic."""

    async def handle(request: Request, **path: str) -> HTTPResponse | None:
        answer = await answered(route, services, request, path)
        if isinstance(answer, Answer):
            return Reply(answer)
        await send(request, answer)
        return None

    return handle


async def answered(
    route: Route, services: Services, request: Request, path: dict[str, str]
) -> Answer | Stream:
    """Answer one request, whatever happens, and log it if it was to change something."""
    call: Call | None = None
    try:
        call = call_of(request, path, await caller_of(route, request, services))
        answer = await obeyed(route, services, request, call)
    except SanicException:
        raise
    except Exception as error:  # noqa: BLE001 - one broken request must not show its traceback, nor end the server
        answer = answer_of(error) or unexpected(route, error)
    if call is not None and route.is_logged:
        now = services.database.now()
        services.command_log.note(command_log.noted(route, call, answer.status, now))
    return answer


async def caller_of(route: Route, request: Request, services: Services) -> Caller:
    """Return who calls: by the token, or without one by the local socket. Raises 401, 429."""
    given = token(request.headers)
    if given is None and is_operator(socket_of(request)):
        return ADMIN
    if route.access is Access.OPEN:
        return STRANGER
    try:
        return await identify(given, services, peer_of(request))
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


async def obeyed(route: Route, services: Services, request: Request, call: Call) -> Answer | Stream:
    """Read the body, now that the token was looked at, and do what is asked. Raises Problem."""
    if route.access is Access.ADMIN:
        call.caller.require_admin()
    if request.stream is not None and request.stream.request_body:
        await request.receive_body()  # type: ignore[no-untyped-call] # Sanic
        call.body = request.body
    async with asyncio.timeout(services.settings.request_deadline_s):
        return await route.handler(services, call)


def call_of(request: Request, path: dict[str, str], caller: Caller) -> Call:
    has_query = b"?" in request.raw_url
    return Call(
        caller=caller,
        path=path,
        query=request.get_args(keep_blank_values=True) if has_query else {},
        headers=request.headers,
        peer_ip=peer_of(request),
    )


def answer_of(error: Exception) -> Answer | None:
    """Return what is told of an error; None for one that nobody foresaw."""
    if isinstance(error, Problem):
        return error.answer
    if isinstance(error, TimeoutError):
        return again(503, "not done in time; it may be done yet")
    return answer_to(error) if isinstance(error, RelayError) else None


def unexpected(route: Route, error: Exception) -> Answer:
    maillog.unexpected(f"{route.method} {route.path}", error)
    return INTERNAL


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
