"""The way from a command to an instance: REST over its local socket, whether it runs or not.

A node that runs is spoken to; else one is stood by in this process, on the same database and under
the same lock. No command knows which it was, and none knows the database.
"""

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from admin_api.local import address_of
from cli.failure import EX_UNAVAILABLE, Failure, code_of_status
from cli.home import Instance, check_owner
from relay.errors import StoreLocked

Json = dict[str, Any]
Query = Mapping[str, object]

TIMEOUT_S = 90.0  # more than a node gives a request
LOCKED_WAIT_S = 15.0
LOOK_EVERY_S = 0.1


class Api:
    """The routes of `admin_api`. An answer that is no success is raised as a Failure."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **query: object) -> Json:
        return self.ask("GET", path, query)

    def post(self, path: str, body: object = None, **query: object) -> Json:
        return self.ask("POST", path, query, body)

    def put(self, path: str, body: object) -> Json:
        return self.ask("PUT", path, {}, body)

    def delete(self, path: str, **query: object) -> Json:
        return self.ask("DELETE", path, query)

    def ask(self, method: str, path: str, query: Query, body: object = None) -> Json:
        given = {} if body is None else {"json": body}
        answer = self._request(method, path, params=parameters(query), **given)
        result: Json = answer.json()
        return result

    def find(self, path: str, **query: object) -> Json | None:
        """Return what is there, None where there is nothing."""
        with connection_kept():
            answer = self._http.get(path, params=parameters(query))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise refusal(answer)
        result: Json = answer.json()
        return result

    def text(self, path: str) -> str:
        return self._request("GET", path).text

    def attempt(self, path: str, body: object) -> httpx.Response:
        """Post a body; the answer is returned whatever it says, for the caller to judge."""
        with connection_kept():
            return self._http.post(path, json=body)

    def post_mail(self, content: bytes, **query: object) -> httpx.Response:
        """Give a mail; the answer is returned whatever it says, for the caller to judge."""
        headers = {"Content-Type": "message/rfc822"}
        with connection_kept():
            return self._http.post(
                "/messages/raw", params=parameters(query), content=content, headers=headers
            )

    def pages(self, path: str, items: str, **query: object) -> Iterator[list[Json]]:
        """Read a list page by page; each page as a list."""
        cursor: str | None = None
        while True:
            answer = self.get(path, **query, cursor=cursor)
            yield answer[items]
            cursor = answer.get("next_cursor")
            if cursor is None:
                return

    @contextmanager
    def download(self, path: str, **query: object) -> Iterator[Iterator[bytes]]:
        """Give the pieces of a long answer."""
        with (
            connection_kept(),
            self._http.stream("GET", path, params=parameters(query)) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise refusal(answer)
            yield answer.iter_bytes()

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with connection_kept():
            answer = self._http.request(method, path, **options)
        if not answer.is_success:
            raise refusal(answer)
        return answer


def segment(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")


def parameters(query: Query) -> httpx.QueryParams:
    """Return a query's parameters: None is not given, a list is given several times."""
    pairs: list[tuple[str, str | int | float | bool | None]] = []
    for name, value in query.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        pairs += [(name.rstrip("_"), as_text(each)) for each in values if each is not None]
    return httpx.QueryParams(pairs)


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def connection_kept() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise Failure("the instance did not answer in time", EX_UNAVAILABLE) from None
    except httpx.TransportError as error:
        text = str(error) or type(error).__name__
        raise Failure(f"the instance broke off: {text}", EX_UNAVAILABLE) from None


def refusal(answer: httpx.Response) -> Failure:
    return Failure(detail_of(answer), code_of_status(answer.status_code))


def detail_of(answer: httpx.Response) -> str:
    """Say in one line what an answer says is wrong."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the instance answered {answer.status_code}"
    if isinstance(detail, list):
        return "; ".join(invalid(each) for each in detail)
    if isinstance(detail, dict):
        return told(detail)
    return str(detail)


def invalid(each: Json) -> str:
    place = ".".join(str(part) for part in each["loc"][1:])
    text = str(each["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


def told(detail: Json) -> str:
    """Say what an object says: its `error`, and the reasons of what was rejected."""
    rejected = [each for each in detail.get("rejected", []) if isinstance(each, dict)]
    reasons = [str(each.get("detail") or each.get("reason")) for each in rejected]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    counts = [f"{name} {count}" for name, count in detail.get("destroyed", {}).items() if count]
    return ": ".join([str(detail.get("error", detail)), *([", ".join(counts)] if counts else [])])


@contextmanager
def connected(instance: Instance) -> Iterator[Api]:
    """Give the API of an instance, wherever it is served. Raises Failure and what a start
    raises.
    """
    with ExitStack() as stack:
        sockets = instance.live_sockets()
        path = sockets[0] if sockets else stack.enter_context(stood_by(instance))
        yield stack.enter_context(over(path))


@contextmanager
def stood_by(instance: Instance) -> Iterator[Path]:
    """Give a socket of an instance that does not run.

    Somebody may be starting it, or work on it as we do: that is waited for.
    """
    check_owner(instance)
    # What serves takes long to import, and most commands meet an instance that runs.
    inside = import_module("cli.inside")
    patient_until = time.monotonic() + LOCKED_WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                path: Path = stack.enter_context(inside.standing_by(instance.home, instance.name))
                break
            except StoreLocked:
                sockets = instance.live_sockets()
                if not sockets and time.monotonic() > patient_until:
                    raise
            if sockets:
                path = sockets[0]
                break
            time.sleep(LOOK_EVERY_S)
        yield path


@contextmanager
def over(path: Path, timeout_s: float = TIMEOUT_S) -> Iterator[Api]:
    """Give the API that is served at a socket."""
    with address_of(path) as address:
        # A context of our own: httpx would read the certificates of the whole world.
        transport = httpx.HTTPTransport(
            uds=address, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), retries=0
        )
        with httpx.Client(
            transport=transport, base_url="http://node", timeout=timeout_s, trust_env=False
        ) as http:
            yield Api(http)
