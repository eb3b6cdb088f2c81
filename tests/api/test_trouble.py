"""When we are at fault: what clients are told, and that nothing of the inside is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import httpx
import pytest

from admin_api.services import Services
from relay.errors import (
    DataRejected,
    QuotaExceeded,
    Refused,
    SecretDamaged,
    ShuttingDown,
    StoreFull,
    StoreUnavailable,
)
from relay.ingress.accept import Door
from relay.ingress.submission import Submission
from relay.store.queue.arrival import Accepted
from tests.api.serving import MAIN_ACCOUNT, SETTINGS, Api, Message, close, open_tenant, serve

Accept = Callable[[Sequence[Submission]], Awaitable[list[Accepted | Refused]]]


class BrokenDoor(Door):
    """A door that does something else instead of accepting."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept

    async def accept_all(self, submissions: Sequence[Submission]) -> list[Accepted | Refused]:
        return await self._accept(submissions)


async def with_door(services: Services, accept: Accept) -> tuple[Api, httpx.AsyncClient]:
    api = await serve(replace(services, door=BrokenDoor(accept)))
    return api, await open_tenant(api, "acme")


async def test_our_trouble_is_told_by_its_status_and_nothing_else(
    services: Services, message: Message
) -> None:
    errors: dict[Exception, int] = {
        StoreUnavailable("postgresql://user:secret@db"): 503,
        ShuttingDown("secret"): 503,
        StoreFull("/secret/path"): 507,
        QuotaExceeded("secret"): 429,
        DataRejected("secret value"): 422,
        SecretDamaged("accounts/secret/x"): 500,
        RuntimeError("secret"): 500,
        KeyError("secret"): 500,
    }
    raised: list[Exception] = []

    async def accept(_submissions: Sequence[Submission]) -> list[Accepted | Refused]:
        raise raised[-1]

    api, acme = await with_door(services, accept)
    for error, status in errors.items():
        raised.append(error)
        answer = await acme.post("/commands/add-messages", json={"messages": [message()]})
        assert answer.status_code == status, error
        assert "secret" not in answer.text
        assert isinstance(answer.json()["detail"], str)
        assert ("Retry-After" in answer.headers) == (status in (429, 503, 507))
    await close(api)


async def test_what_takes_too_long_is_503(services: Services, message: Message) -> None:
    forever = asyncio.Event()

    async def accept(_submissions: Sequence[Submission]) -> list[Accepted | Refused]:
        await forever.wait()
        return [Accepted("pk")]

    settings = replace(SETTINGS, request_deadline_s=0.2)
    api, acme = await with_door(replace(services, settings=settings), accept)
    answer = await acme.post("/commands/add-messages", json={"messages": [message()]})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    forever.set()
    await close(api)


async def test_a_client_that_hangs_up_does_not_cut_an_accept(
    services: Services, message: Message
) -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def accept(_submissions: Sequence[Submission]) -> list[Accepted | Refused]:
        begun.set()
        await go_on.wait()
        ended.set()
        return [Accepted("pk")]

    api, acme = await with_door(services, accept)
    call = asyncio.create_task(acme.post("/commands/add-messages", json={"messages": [message()]}))
    await begun.wait()
    call.cancel()
    await asyncio.wait([call])
    await acme.get("/health")
    go_on.set()
    await close(api)
    assert ended.is_set()


async def test_a_list_that_breaks_in_the_middle_is_seen_to_be_cut(
    services: Services, message: Message
) -> None:
    class Breaking(type(services.messages)):  # type: ignore[misc] # a class made at run time
        async def page(self, *args: object, after: str = "", **kwargs: object) -> object:
            if after:
                raise StoreUnavailable("gone")
            return await super().page(*args, after=after, **kwargs)

    api = await serve(replace(services, messages=Breaking(services.database)))
    acme = await open_tenant(api, "acme")
    await acme.post("/account", json=MAIN_ACCOUNT)
    await acme.post("/commands/add-messages", json={"messages": [message()]})
    with pytest.raises(httpx.RemoteProtocolError):
        await acme.get("/messages", params={"tenant_id": "acme"})
    await close(api)


async def test_what_is_no_route_is_404_and_no_method_405(nobody: httpx.AsyncClient) -> None:
    answer = await nobody.get("/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "no such route"})
    answer = await nobody.delete("/health")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert answer.json()["detail"]
