"""Wrong tokens: so many of them from one address are 401, more are 429; the right one is let in."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from admin_api.services import Services
from relay.crypto import digest, new_secret
from relay.ingress.guesses import Guesses
from relay.store.database import Database
from relay.store.login_failures import LoginFailures, Rules
from tests.api.serving import ADMIN_TOKEN, Api, close, open_tenant, serve

RULES = Rules(first_wait_s=20, longest_wait_s=40, most_names=5, turn_s=60)


def strict(services: Services, db: Database) -> Services:
    settings = replace(services.settings, metrics_token_digest=digest("the token of /metrics"))
    guesses = Guesses(RULES, db.now, LoginFailures(db))
    return replace(services, guesses=guesses, settings=settings)


@pytest.fixture
async def guarded(services: Services, db: Database) -> AsyncIterator[Api]:
    """An API that soon has enough of wrong tokens."""
    api = await serve(strict(services, db))
    await open_tenant(api, "acme")
    yield api
    await close(api)


@pytest.fixture
async def other_node(services: Services, db: Database) -> AsyncIterator[Api]:
    api = await serve(strict(services, db))
    yield api
    await close(api)


async def status(api: Api, token: str | None, path: str = "/status") -> int:
    return (await api.client(token).get(path)).status_code


async def test_many_wrong_tokens_are_too_many_and_the_right_ones_are_let_in(
    guarded: Api, other_node: Api
) -> None:
    tokens = [new_secret() for _ in range(RULES.most_names)] + [ADMIN_TOKEN + "x"]
    assert [await status(guarded, token) for token in tokens] == [401] * len(tokens)
    for api in (guarded, other_node):
        for wrong in (new_secret(), "wrong"):
            answer = await api.client(wrong).get("/status")
            assert (answer.status_code, answer.json()["detail"]) == (
                429,
                "Too many wrong API tokens",
            )
            assert 0 < int(answer.headers["Retry-After"]) <= RULES.turn_s
        assert await status(api, ADMIN_TOKEN) == 200
        assert await status(api, guarded.keys["acme"]) == 200


async def test_a_client_that_insists_on_one_wrong_token_is_slowed_alone(
    guarded: Api, other_node: Api
) -> None:
    stale = new_secret()
    answers = [await status(guarded, stale) for _ in range(13)]
    assert answers == [401] * 11 + [429] * 2
    assert await status(other_node, stale) == 429
    assert await status(guarded, new_secret()) == 401


async def test_who_gives_no_token_guesses_nothing(guarded: Api) -> None:
    for token in (None, "", "x" * 5000):
        assert [await status(guarded, token) for _ in range(12)] == [401] * 12


async def test_the_token_of_the_metrics_is_guarded_alike(guarded: Api) -> None:
    answers = [await status(guarded, f"guess {n}", "/metrics") for n in range(7)]
    assert answers == [401] * 6 + [429]
    assert await status(guarded, None, "/metrics") == 401
    assert await status(guarded, "the token of /metrics", "/metrics") == 200
